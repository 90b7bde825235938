/** Scenario files, the accounts of a run, and runs in virtual time. */
import { createHash } from 'node:crypto'
import t from 'tap'
import { Account, isGood } from '../../firmware-sim/oracle/account.ts'
import { BrokerLedger } from '../../firmware-sim/oracle/broker-ledger.ts'
import { Delays } from '../../firmware-sim/oracle/delays.ts'
import { loadScenario, parseScenario } from '../../firmware-sim/scenario/load.ts'
import { MemoryGateway } from '../bench/serial/memory-gateway.ts'
import { measureLine } from '../bench/serial/virtual-line.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

t.test('the scenarios that come along are right', async (t) => {
  for (const name of ['noisy-line', 'hard-life', 'odd-lines', 'bus', 'full-queue']) {
    const scenario = loadScenario(`firmware-sim/scenarios/${name}.toml`)
    t.equal(scenario.name, name)
    t.ok(scenario.fault.length > 0)
  }
})

t.test('what is wrong with a scenario is said with its place', async (t) => {
  const head = 'name = "a"\nduration_ms = 1000\n'
  const group = '[[group]]\nname = "g"\n'
  const wrong: Record<string, readonly [toml: string, message: RegExp]> = {
    'not TOML': ['name = ', /^file: Invalid TOML document/],
    'no groups': [head, /^file: group: /],
    'an unknown key': [`${head}${group}colour = "red"`, /group 1 \(g\): Unrecognized key: "colour"/],
    'an unknown head': [`${head}${group}head = "morse"`, /group 1 \(g\): head: .*"link"/],
    'a wrong rate': [`${head}${group}[[fault]]\nkind = "drop"`, /fault 1 \(drop\): kind: /],
    'a fault that needs an end': [
      `${head}${group}[[fault]]\nkind = "unplug"\nat_ms = 1`,
      /fault 1 \(unplug\): for_ms: /,
    ],
    'a group twice': [`${head}${group}${group}`, /group 2 \(g\): name: there is another group "g"/],
    'a group that is not there': [
      `${head}${group}[[phase]]\nat_ms = 1\nrate_per_second = 2\ngroup = "h"`,
      /phase 1: group: there is no group "h", but "g"/,
    ],
    'a wire that cannot be': [`${head}${group}head = "tcp"\ntransport = "pty"`, /group 1 \(g\): transport: head "tcp"/],
  }
  for (const [name, [toml, message]] of Object.entries(wrong)) {
    t.throws(() => parseScenario(toml, 'file'), { name: 'ScenarioFault', message }, name)
  }
  t.throws(() => loadScenario('nowhere.toml'), { message: /nowhere.toml: ENOENT/ })
})

t.test('an account finds what is missing, doubled and out of order', async (t) => {
  const account = new Account('s1')
  account.producedCount = 6
  for (let n = 1; n <= 6; n++) account.acknowledged.add(n)
  for (const n of [1, 3, 2, 3, 5, 5, 6]) account.arrive(n, n)
  account.resent.add(5)
  t.equal(account.isSettled, false)
  t.match(account.verdict(), { arrived: 5, lost: 1, doubled: 1, sentAgain: 1, outOfOrder: 1, longestDelayMs: 6 })
  t.notOk(isGood(account.verdict()))
  account.excusedCount = 3
  t.match(account.verdict(), { lost: 0, explained: 1 })
})

t.test('what comes again in a later connection of the subscriber is no double', async (t) => {
  const account = new Account('s1')
  account.arrive(1, 0, 0)
  account.arrive(1, 0, 1)
  t.equal(account.verdict().doubled, 0)
  account.arrive(2, 0, 1)
  account.arrive(2, 0, 1)
  t.equal(account.verdict().doubled, 1)
})

t.test('of a ledger counts what this subscriber was to get, since it came', async (t) => {
  const ledger = new BrokerLedger('me')
  const summary = (...records: object[]) => Buffer.from(JSON.stringify({ count: 0, records }))
  t.equal(ledger.droppedCount, 0, 'a broker without a ledger')
  const old = { number: 1, scope: '$log', reason: 'backlog_full', count: 5 }
  ledger.read(summary(old), true)
  t.equal(ledger.droppedCount, 0, 'before the run')
  const mine = { number: 2, scope: 'me', reason: 'queue_full', count: 7 }
  ledger.read(summary({ ...old, count: 6 }, mine, { ...mine, number: 3, scope: 'another' }), false)
  t.strictSame(
    [...ledger.countByReason],
    [
      ['backlog_full', 1],
      ['queue_full', 7],
    ],
  )
  ledger.read(summary({ ...old, count: 6 }, { ...mine, count: 9 }), true)
  t.equal(ledger.droppedCount, 10, 'told again after a restart of the broker')
})

t.test('percentiles of delays', async (t) => {
  const delays = new Delays()
  t.equal(delays.percentileMs(0.5), 0)
  for (let ms = 1; ms <= 1000; ms++) delays.add(ms)
  for (const [share, exact] of [
    [0.5, 500],
    [0.99, 990],
    [1, 1000],
  ] as const) {
    const ms = delays.percentileMs(share)
    t.ok(ms >= exact && ms <= exact * 1.05, `${share}: ${ms}`)
  }
  const other = new Delays()
  other.add(5000)
  delays.merge(other)
  t.strictSame([delays.count, delays.longestMs, delays.percentileMs(1)], [1001, 5000, 5000])
})

t.test('the same seed sends the same bytes', async (t) => {
  const run = async (seed: number): Promise<string> => {
    const clock = new VirtualClock(1000)
    const gateway = await MemoryGateway.start(clock)
    const digest = createHash('sha256')
    const board = { ratePerSecond: 50, readingCount: 200, watchdogMs: 500, bootBaudRate: 74_880 }
    const { cable } = gateway.add({ id: 's1', baudRate: 115_200, ...board }, seed)
    const { fromGateway, transmit } = cable
    cable.fromGateway = (chunk) => {
      digest.update(chunk)
      fromGateway.call(cable, chunk)
    }
    const write = transmit.write.bind(transmit)
    transmit.write = (bytes) => {
      digest.update(bytes)
      write(bytes)
    }
    cable.fault({ bitErrorRate: 1e-4, dropRate: 1e-4, burstRate: 1e-5 })
    cable.device.start()
    clock.advanceMs(3000)
    cable.device.loop.hang()
    clock.advanceUntil(() => cable.device.isDone, 60_000)
    t.ok(cable.device.isDone)
    const stop = gateway.stop()
    clock.advanceMs(1000)
    await stop
    return digest.digest('hex')
  }
  const first = await run(1)
  t.equal(await run(1), first)
  t.not(await run(2), first)
})

t.test('at bit error rate 1e-4 nothing is lost or doubled, and the line still carries most of it', async (t) => {
  const clean = await measureLine(1500, undefined)
  const noisy = await measureLine(3000, { bitErrorRate: 1e-4 })
  t.match(noisy.verdict, {
    produced: 3000,
    arrived: 3000,
    lost: 0,
    doubled: 0,
    sentAgain: 0,
    corrupted: 0,
    outOfOrder: 0,
  })
  t.ok(noisy.framesSentAgain > 100, `${noisy.framesSentAgain} frames sent again`)
  t.ok(clean.payloadShare >= 0.85, `${clean.payloadShare} of the baud rate is payload`)
  t.ok(noisy.payloadShare >= 0.6 * clean.payloadShare, `${noisy.payloadShare / clean.payloadShare} of the clean line`)
  t.comment(`payload bytes: ${clean.payloadShare} clean, ${noisy.payloadShare} noisy; packets: ${clean.packetShare}`)
})
