/**
 * `npm run bench:serial`: what the serial link carries and what it costs. Each line says what was measured and whether
 * it meets its bound; the command ends 1 when one does not. Timings depend on what else the machine does.
 */
import { availableParallelism, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import type { Verdict } from '../../../firmware-sim/oracle/account.ts'
import { measureGarbage } from './garbage.ts'
import { measureFleet } from './memory-fleet.ts'
import { type RealFigures, runForReal } from './real-run.ts'
import { measureReplugs } from './replug.ts'
import { baudRate, measureLine, payloadBytes } from './virtual-line.ts'

const usage = `npm run bench:serial -- [--only NAME] [--short] [--devices 2000]
  --only     virtual: one line in virtual time, 100 000 messages with bit errors
             pty:     one line over a pty, with a real edge process
             fleet:   64 devices on 64 ptys for a minute, with a real edge process
             memory:  so many devices in one process
             garbage: an hour of noise at full speed, in virtual time
             replug:  a device on a pty, pulled and plugged in 1000 times
  --short    a tenth of it`

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    devices: { type: 'string', default: '2000' },
    short: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const scale = values.short ? 0.1 : 1
const noise = { bitErrorRate: 1e-4 }
let missedCount = 0

const sections: Record<string, () => Promise<void>> = { virtual, pty, fleet, memory, garbage, replug }
const chosen = Object.entries(sections).filter(([name]) => name.startsWith(values.only))

if (values.help || chosen.length === 0 || !(Number(values.devices) >= 1)) {
  console.log(usage)
  process.exitCode = values.help ? 0 : 2
} else {
  for (const [, run] of chosen) {
    const load = loadavg()[0]?.toFixed(1)
    console.log(`Node ${process.version}, ${availableParallelism()} cores, load average ${load} before it begins`)
    await run()
  }
  process.exitCode = missedCount > 0 ? 1 : 0
}

async function virtual(): Promise<void> {
  console.log(`one device, ${baudRate} baud, ${payloadBytes}-byte payloads, QoS 1, virtual time`)
  const clean = await measureLine(20_000 * scale, undefined)
  report(
    'clean line, payload bytes alone, share of the baud rate',
    percent(clean.payloadShare),
    clean.payloadShare >= 0.85,
  )
  report('clean line, PUBLISH packets, share of the baud rate', percent(clean.packetShare), clean.packetShare >= 0.85)
  const noisy = await measureLine(100_000 * scale, noise)
  reportLosses('bit error rate 1e-4', noisy.verdict)
  const kept = noisy.payloadShare / clean.payloadShare
  report('bit error rate 1e-4, goodput against the clean line', percent(kept), kept >= 0.6)
  const slow = await measureLine(6000 * scale, undefined, {}, 10)
  report('clean line, 10 messages a second, end to end p99', `${slow.p99Ms.toFixed(1)} ms`, slow.p99Ms <= 30)
  const slowNoisy = await measureLine(6000 * scale, noise, {}, 10)
  report('bit error rate 1e-4, the same', `${slowNoisy.p99Ms.toFixed(1)} ms`, slowNoisy.p99Ms <= 30)
}

async function pty(): Promise<void> {
  const seconds = Math.ceil(60 * scale)
  console.log(`one device on a pty, edge process, subscriber over TCP, ${seconds} s each`)
  const group = '[[group]]\nname = "s1"\npayload_bytes = 64\n'
  const fast = `${group}rate_per_second = "max"\nmqtt_version = 5\nin_flight_max = 64\nframe_bytes = 1152\n`
  const head = `name = "bench"\nduration_ms = ${seconds * 1000}\n`
  const faults = '[[fault]]\nkind = "bit-errors"\nrate = 1e-4\nat_ms = 0\n'
  const goodput = ({ verdict, seconds }: RealFigures) => (verdict.arrived * payloadBytes) / (seconds * (baudRate / 10))
  const clean = await runForReal(head + fast)
  report('clean line, payload bytes alone, share of the baud rate', percent(goodput(clean)), goodput(clean) >= 0.85)
  const noisy = await runForReal(head + fast + faults)
  reportLosses('bit error rate 1e-4', noisy.verdict)
  const kept = goodput(noisy) / goodput(clean)
  report('bit error rate 1e-4, goodput against the clean line', percent(kept), kept >= 0.6)
  const slow = await runForReal(`${head}durable_subscriber = false\n${group}rate_per_second = 10\n`)
  report('10 messages a second, end to end p50', `${slow.p50Ms.toFixed(1)} ms`, undefined)
  report('10 messages a second, end to end p99', `${slow.p99Ms.toFixed(1)} ms`, slow.p99Ms <= 30)
  const stored = await runForReal(`${head}${group}rate_per_second = 10\n`)
  report(
    'the same to a durable session, stored before it is delivered, p99',
    `${stored.p99Ms.toFixed(1)} ms`,
    undefined,
  )
}

async function fleet(): Promise<void> {
  const seconds = Math.ceil(60 * scale)
  console.log(`64 devices on 64 ptys, 20 messages a second each, ${seconds} s, edge process, subscriber over TCP`)
  const group = '[[group]]\nname = "f"\ncount = 64\npayload_bytes = 64\nrate_per_second = 20\n'
  const figures = await runForReal(`name = "bench"\nduration_ms = ${seconds * 1000}\nstart_within_ms = 1000\n${group}`)
  reportLosses('64 ptys', figures.verdict)
  report('64 ptys, everything arrived', figures.isDrained ? 'yes' : 'no', figures.isDrained)
  report('64 ptys, edge process, share of one core', percent(figures.edgeCpuShare), undefined)
  report('64 ptys, edge process, resident memory', `${figures.edgeMegabytes.toFixed(1)} MB`, undefined)
  report('64 ptys, end to end p50', `${figures.p50Ms.toFixed(1)} ms`, undefined)
  report('64 ptys, end to end p99', `${figures.p99Ms.toFixed(1)} ms`, undefined)
}

async function memory(): Promise<void> {
  const count = Math.ceil(Number(values.devices) * scale)
  console.log(
    `${count} devices with serial links in memory, 1 message a second each, 30 s, devices and broker in one process`,
  )
  const figures = await measureFleet(count, 1, 30)
  reportLosses(`${count} devices`, figures.verdict)
  report(`${count} devices, connected`, String(figures.connected), figures.connected === count)
  report(`${count} devices, end to end p50`, `${figures.p50Ms.toFixed(1)} ms`, undefined)
  report(`${count} devices, end to end p99`, `${figures.p99Ms.toFixed(1)} ms`, undefined)
  report(`${count} devices, share of one core`, percent(figures.cpuShare), undefined)
  report(`${count} devices, resident memory`, `${figures.megabytes.toFixed(0)} MB`, undefined)
}

async function garbage(): Promise<void> {
  const minutes = Math.ceil(60 * scale)
  console.log(`noise at ${baudRate} baud for ${minutes} minutes, virtual time`)
  const figures = measureGarbage(minutes)
  report('bytes', figures.bytes.toLocaleString('en'), undefined)
  report('lines in the log', String(figures.logLines), figures.logLines <= minutes)
  report('heap grown by', `${figures.heapGrowthMegabytes.toFixed(2)} MB`, figures.heapGrowthMegabytes < 2)
  report('CPU time, generating the noise included', `${(figures.cpuMs / 1000).toFixed(1)} s`, undefined)
  report('a device that comes afterwards is understood', figures.isUpAgain ? 'yes' : 'no', figures.isUpAgain)
}

async function replug(): Promise<void> {
  const cycles = Math.ceil(1000 * scale)
  console.log(`one device on a pty that is pulled and plugged in ${cycles} times while it sends 20 messages a second`)
  const figures = await measureReplugs(cycles)
  const arrived = figures.produced - figures.missing
  report('readings that arrived', `${arrived} of ${figures.produced}`, figures.missing === 0)
  report('descriptors more at the end', String(figures.descriptorGrowth), figures.descriptorGrowth <= 0)
  report('heap grown by', `${figures.heapGrowthMegabytes.toFixed(2)} MB`, figures.heapGrowthMegabytes < 2)
  report('resident memory grown by', `${figures.residentGrowthMegabytes.toFixed(1)} MB`, undefined)
}

function reportLosses(
  what: string,
  { produced, arrived, lost, corrupted, doubled, sentAgain, outOfOrder }: Verdict,
): void {
  const text = `${arrived} of ${produced} arrived, lost ${lost}, doubled ${doubled}, sent again ${sentAgain}, corrupted ${corrupted}, out of order ${outOfOrder}`
  report(what, text, arrived === produced && lost + corrupted + doubled + sentAgain + outOfOrder === 0)
}

/** @param isMet undefined: a figure without a bound */
function report(what: string, figure: string, isMet: boolean | undefined): void {
  if (isMet === false) missedCount++
  console.log(`  ${isMet === undefined ? '      ' : isMet ? 'ok    ' : 'NOT OK'}  ${what}: ${figure}`)
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}
