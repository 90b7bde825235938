/** A run is replayable by its seed, and what passed on its lines can be looked at again. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { captureLines } from '../../firmware-sim/fleet/capture.ts'
import { judge } from '../../firmware-sim/fleet/judge.ts'
import { loadScenario, parseScenario } from '../../firmware-sim/scenario/load.ts'
import { readCaptureLine } from '../../src/lib/line-capture.ts'
import { VirtualScenario } from '../bench/serial/virtual-scenario.ts'
import { runCommand } from '../fixtures/tidegate-command.ts'

const rough = `name = "rough"
duration_ms = 3000
start_within_ms = 200
[[group]]
name = "meter"
rate_per_second = 20
watchdog_ms = 500
drift_ppm = 80
boot_baud_rate = 74880
receive_ring_bytes = 128
frame_bytes = 64
[[group]]
name = "printer"
head = "json-lines"
rate_per_second = 10
[[group]]
name = "plain"
head = "raw"
rate_per_second = 10
[[group]]
name = "wires"
count = 3
bus = true
rate_per_second = 5
[[fault]]
kind = "bit-errors"
rate = 2e-4
at_ms = 200
group = "meter"
[[fault]]
kind = "lost-bytes"
rate = 1e-3
at_ms = 200
group = "wires"
[[fault]]
kind = "hang"
at_ms = 1000
group = "meter"
[[fault]]
kind = "replug-storm"
every_ms = 300
at_ms = 1500
for_ms = 700
group = "plain"
[[fault]]
kind = "brown-out"
at_ms = 2300
`

async function played(toml: string, seed: number): Promise<{ capture: string; isAsExpected: boolean }> {
  const scenario = { ...parseScenario(toml, 'file'), seed }
  const { run, play } = await built(scenario)
  const pieces: string[] = []
  captureLines(run, (text) => pieces.push(text))
  await play()
  return { capture: pieces.join(''), isAsExpected: judge(run).every(({ isMet }) => isMet) }
}

async function built(scenario: ReturnType<typeof parseScenario>) {
  const virtual = await VirtualScenario.build(scenario, () => undefined)
  return { run: virtual.run, play: () => virtual.play() }
}

const first = await played(rough, 5)

t.test('one seed gives one capture, to the byte and the moment; another seed another one', async (t) => {
  const [second, other] = [await played(rough, 5), await played(rough, 6)]
  t.ok(first.capture.length > 50_000, `${first.capture.length} characters`)
  t.ok(first.capture === second.capture)
  t.not(other.capture, first.capture)
  t.ok(first.isAsExpected && other.isAsExpected, 'nothing lost, nothing doubled')
  for (const line of ['meter', 'printer', 'plain', 'wires']) {
    t.match(first.capture, ` ${line} < `)
    if (line !== 'printer') t.match(first.capture, ` ${line} > `)
  }
})

t.test('a captured run is shown again, frame by frame', async (t) => {
  const { capture } = first
  const file = join(t.testdir(), 'rough.capture')
  writeFileSync(file, capture)
  const shown = await runCommand(['serial', 'inspect', file])
  t.match(shown, { code: 0, stderr: '' })
  t.match(shown.stdout, /^--- tidegate capture 1, rough, seed 5\n/)
  t.match(shown.stdout, /\d\.\d{3} meter < RST {6}device "meter" .* reset watchdog/)
  t.match(shown.stdout, /\d\.\d{3} meter > RSTACK {3}host /)
  t.match(shown.stdout, /\d\.\d{3} wires < DATA {4} address 3 seq /)
  t.match(shown.stdout, /--- meter < \d+ bytes, \d+ units, [1-9]\d* checksum/)
  const bytes = capture.split('\n').map((line) => readCaptureLine(line))
  const ofMeter = bytes.filter((piece) => piece?.line === 'meter' && piece.from === 'device')
  const sum = ofMeter.reduce((total, piece) => total + (piece?.bytes.length ?? 0), 0)
  t.match(shown.stdout, `--- meter < ${sum} bytes`, 'every byte was looked at')
})

t.test('what is not a capture is refused', async (t) => {
  const none = await runCommand(['serial', 'inspect', 'package.json'])
  t.match(none, { code: 1, stderr: /not a captured serial line: package.json .*--capture FILE/ })
})

t.test('devices share a pair of wires, and the wires are bad', async (t) => {
  const scenario = { ...loadScenario('firmware-sim/scenarios/bus.toml'), duration_ms: 5000 }
  const { run, play } = await built({ ...scenario, fault: scenario.fault.filter(({ at_ms }) => at_ms < 5000) })
  await play()
  for (const { text, isMet } of judge(run)) t.ok(isMet, text)
  t.equal(run.members.length, 10)
  for (const { id, station } of run.members) t.ok(station.device.acknowledged.size >= 10, id)
  t.ok(run.fleets[0]?.deviceFaults.damagedFrames, 'the noise was noticed')
})

t.test('what virtual time cannot have is refused by name', async (t) => {
  const of = (more: string) => parseScenario(`name = "a"\nduration_ms = 1000\n[[group]]\nname = "g"\n${more}`, 'file')
  const build = (more: string) => VirtualScenario.build(of(more), () => undefined)
  await t.rejects(build('head = "tcp"'), { name: 'ScenarioFault', message: /"g": head "tcp" .* a network/ })
  await t.rejects(build('[[fault]]\nkind = "kill-broker"\nat_ms = 1\nfor_ms = 1'), {
    message: /fault "kill-broker" .* needs processes/,
  })
})
