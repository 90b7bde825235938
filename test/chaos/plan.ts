/** What goes wrong in a chaos run, and when: drawn from its seed alone, so that the same seed replays the same plan. */
import { SeededRandom } from '../../firmware-sim/seeded-random.ts'
import type { Fault } from '../../firmware-sim/uplink-proxy.ts'

export type Step = { readonly atMs: number; readonly lastsMs: number } & (
  | { readonly what: 'kill-edge'; readonly gateway: number }
  | { readonly what: 'kill-cloud' }
  | { readonly what: 'link'; readonly gateway: number; readonly fault: Fault }
)

/** @returns steps by rising time; each is over before `durationMs` is */
export function drawPlan(seed: number, durationMs: number, gatewayCount: number): readonly Step[] {
  const random = new SeededRandom(seed)
  const between = (low: number, high: number) => Math.round(low + random.next() * (high - low))
  const steps: Step[] = []
  for (let atMs = between(1000, 2500); atMs < durationMs; atMs += between(1000, 4000)) {
    const gateway = between(0, gatewayCount - 1)
    const dice = random.next()
    const lastsMs = between(300, 4000)
    if (atMs + lastsMs > durationMs) break
    if (dice < 0.2) steps.push({ atMs, lastsMs, what: 'kill-edge', gateway })
    else if (dice < 0.35) steps.push({ atMs, lastsMs, what: 'kill-cloud' })
    else steps.push({ atMs, lastsMs, what: 'link', gateway, fault: drawFault(between) })
  }
  return steps
}

function drawFault(between: (low: number, high: number) => number): Fault {
  const faults: readonly Fault[] = [
    { kind: 'latency', delayMs: between(50, 400), jitterMs: between(0, 200) },
    { kind: 'bandwidth', bytesPerSecond: between(5000, 50_000) },
    { kind: 'stall' },
    { kind: 'blackhole' },
    { kind: 'half-open' },
    { kind: 'reset' },
    { kind: 'moved' },
    { kind: 'nat-idle', idleMs: between(200, 1000) },
  ]
  return faults[between(0, faults.length - 1)] as Fault
}

export function describeStep(step: Step): string {
  const at = `${(step.atMs / 1000).toFixed(1)} s`
  const lasts = `for ${(step.lastsMs / 1000).toFixed(1)} s`
  if (step.what === 'kill-cloud') return `${at}: SIGKILL cloud, down ${lasts}`
  if (step.what === 'kill-edge') return `${at}: SIGKILL gateway ${step.gateway + 1}, down ${lasts}`
  return `${at}: link of gateway ${step.gateway + 1}: ${JSON.stringify(step.fault)} ${lasts}`
}
