/** The command of the simulator, with real ptys and real brokers. */
import { execFile, spawn, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { freePort } from '../../firmware-sim/free-port.ts'
import { LinkDecoder } from '../../src/gateway/link-decoder.ts'
import { FrameFlag } from '../../src/gateway/link-frame.ts'
import { readCaptureLine } from '../../src/lib/line-capture.ts'

/** Each is a process that mostly waits. */
t.jobs = 3

const shortRun = `name = "short"
seed = 3
duration_ms = 4000

[[group]]
name = "serial"
count = 2
rate_per_second = 20
[[group]]
name = "net"
head = "tcp"
rate_per_second = 20
[[group]]
name = "raw"
head = "raw"
rate_per_second = 20
[[group]]
name = "serial2mqtt"
head = "json-lines"
rate_per_second = 20
[[group]]
name = "println"
head = "kv"
rate_per_second = 20

[[phase]]
at_ms = 2500
group = "net"
rate_per_second = 40

[[fault]]
kind = "bit-errors"
rate = 2e-4
at_ms = 300
group = "serial"
[[fault]]
kind = "brown-out"
at_ms = 1200
group = "serial"
[[fault]]
kind = "unplug"
at_ms = 2000
for_ms = 600
group = "serial"
devices = 1
`

t.test('a run against an edge of its own', { buffered: true }, async (t) => {
  const { stdout } = await sim('run', fileOf(t, shortRun))
  t.match(stdout, /6 devices, messages arrive at mqtt:.*an edge of its own/)
  t.match(stdout, /unplug: 1 of serial, for 0.6 s/)
  t.match(stdout, /net: 40 readings a second from now on/)
  for (const id of ['serial-2', 'net', 'raw', 'serial2mqtt', 'println']) t.match(stdout, new RegExp(`${id} .* ok\n`))
  t.match(stdout, /ok {6}lost 0 \(at most 0\)/)
  t.match(stdout, /As expected\.\n$/)
})

t.test(
  'echo, breaks, silence, busy boards and nonsense between readings cost nothing that was acknowledged',
  async (t) => {
    const capture = join(t.testdir(), 'passed')
    const { stdout } = await sim('run', 'firmware-sim/scenarios/odd-lines.toml', '--capture', capture)
    for (const kind of ['echo', 'busy', 'break', 'silence', 'partial-line', 'giant-line'])
      t.match(stdout, `  ${kind}: all of`)
    for (const id of ['meter-2', 'far', 'printer-2', 'speaker']) t.match(stdout, new RegExp(`${id} .* ok\n`))
    const echoCount = echoCountOf('meter-1', capture)
    t.ok(echoCount > 0, `${echoCount} frames of the gateway came back to it`)
    // How many a device hears damaged, and whether a busy board overruns, is a matter of real time here; board.test.ts
    // shows the latter in virtual time.
    t.match(stdout, /meter: 0 resets, \d+ damaged frames, [1-9]\d* frames sent again, \d+ bytes overrun/)
    t.match(stdout, /As expected\.\n$/)
  },
)

/** How many frames of the gateway it heard itself on the line of a device. */
function echoCountOf(device: string, capture: string): number {
  let echoCount = 0
  const decoder = new LinkDecoder(2048, {
    onFrame: ({ flags }) => {
      if ((flags & FrameFlag.host) !== 0) echoCount++
    },
    onGarbage: () => {},
  })
  for (const text of readFileSync(capture, 'utf8').split('\n')) {
    const piece = readCaptureLine(text)
    if (piece?.line === device && piece.from === 'device') decoder.push(piece.bytes)
  }
  return echoCount
}

t.test('what the broker drops on purpose is no loss: its ledger says as much as is missing', async (t) => {
  const { stdout } = await sim('run', 'firmware-sim/scenarios/full-queue.toml')
  t.match(stdout, 'subscriber: away for 3 s')
  const rows = [...stdout.matchAll(/^meter-\d +\d+ +\d+ +\d+ +(\d+) /gm)]
  const missing = rows.reduce((sum, [, lost]) => sum + Number(lost), 0)
  t.ok(missing > 10, `${missing} did not arrive`)
  t.match(stdout, `dropped by the broker, in its ledger (queue_full ${missing}): ${missing} (at most 200)`)
  t.match(stdout, /ok {6}lost 0 \(at most 0\)/)
  t.match(stdout, /As expected\.\n$/)
})

const lacksGcc = spawnSync('gcc', ['--version']).error !== undefined ? 'gcc is not installed' : false

t.test(
  'the link in C carries readings over a noisy line and a brown-out',
  { skip: lacksGcc, buffered: true },
  async (t) => {
    const inC = shortRun
      .replace('name = "serial"', 'name = "serial"\nhead = "link-c"')
      .replace('duration_ms = 4000', 'duration_ms = 3000')
    const { stdout } = await sim('run', fileOf(t, inC))
    t.match(stdout, /serial-1 .* ok\n/)
    t.match(stdout, /As expected\.\n$/)
  },
)

t.test('any broker will do, such as mosquitto', { skip: lacksMosquitto(), buffered: true }, async (t) => {
  const port = await freePort()
  const broker = spawn('mosquitto', ['-p', String(port)], { stdio: 'ignore' })
  t.teardown(() => broker.kill())
  const toml = `name = "net"\nduration_ms = 1500\n[[group]]\nname = "n"\ncount = 5\nhead = "tcp"\nrate_per_second = 20\n`
  await wait(500)
  const { stdout } = await sim('run', fileOf(t, toml), '--broker', `mqtt://127.0.0.1:${port}`)
  t.match(stdout, /n-5 .* ok\n/)
  t.match(stdout, /As expected\.\n$/)
})

t.test('a run that fails its expectations says so and ends 1', { buffered: true }, async (t) => {
  const impossible = shortRun
    .replace('duration_ms = 4000', 'duration_ms = 500')
    .concat('[expect]\ndelay_p99_ms_max = 0.01\n')
  await t.rejects(sim('run', fileOf(t, impossible)), {
    code: 1,
    stdout: /NOT OK {2}delay p99 .* ms \(at most 0.01 ms\)[\s\S]*NOT OK; the same again: --seed 3/,
  })
})

t.test('a gateway of your own is told what to open', { buffered: true }, async (t) => {
  const { stdout } = await sim('config', fileOf(t, shortRun), '--folder', '/tmp/ports')
  const block = (id: string, more = '') => `\n[[serial]]\nname = "${id}"\npath = "/tmp/ports/${id}"\n${more}`
  t.ok(stdout.startsWith(block('serial-1') + block('serial-2')), stdout)
  t.ok(stdout.endsWith(block('println', 'protocol = "lines"\ntopic = "dev/{name}/reading"\n')), stdout)
})

t.test('the command explains itself', { buffered: true }, async (t) => {
  t.match((await sim('run', '--help')).stdout, /Plays a scenario/)
  await t.rejects(sim('run', 'nowhere.toml'), { code: 2, stderr: /nowhere.toml: ENOENT/ })
  await t.rejects(sim('run', fileOf(t, shortRun), '--broker', 'there'), { code: 2, stderr: /--broker there/ })
})

function lacksMosquitto(): string | false {
  return spawnSync('mosquitto', ['-h']).error !== undefined ? 'mosquitto is not installed' : false
}

function fileOf(t: Test, toml: string): string {
  const file = join(t.testdir({}), 'scenario.toml')
  writeFileSync(file, toml)
  return file
}

function sim(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  return promisify(execFile)(process.execPath, ['--import=tsx', 'firmware-sim/main.ts', ...args])
}
