/** What the doctor says, and when it says that something is wrong. */
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makeCertificates } from '../../src/adapters/certificates/certificate-directory.ts'
import { bytesText, durationText, type Finding } from '../../src/cli/doctor/finding.ts'
import { examineCertificates, examineClock, examineDisk, examineSerials } from '../../src/cli/doctor/machine.ts'
import { endurance, expectedWear, survival, wear, writtenPerDay } from '../../src/cli/doctor/promises.ts'
import { loadSettings } from '../../src/config/load.ts'
import type { Settings } from '../../src/config/settings.ts'
import { Lines, runCommand, startCommand } from '../fixtures/tidegate-command.ts'

t.setTimeout(600_000)

const day = 86_400

function settingsOf(t: Test, toml: string): Settings {
  const path = join(t.testdir({ 'x.toml': toml }), 'x.toml')
  const loaded = loadSettings('edge', path, {})
  if (!loaded.ok) throw loaded.error[0]
  return loaded.value
}

function states(findings: readonly Finding[]): string[] {
  return findings.map(({ topic, state }) => `${topic} ${state}`)
}

t.test('figures read as people write them', (t) => {
  t.strictSame([0, 1023, 1536, 1.5 * 2 ** 30, 200 * 2 ** 20].map(bytesText), [
    '0 B',
    '1023 B',
    '1.5 KiB',
    '1.5 GiB',
    '200 MiB',
  ])
  t.strictSame([0, 59, 3600, 100_000, 9.2 * day, 1000 * day].map(durationText), [
    '0 s',
    '59 s',
    '1 h',
    '1 d 3 h',
    '9 d 4 h',
    '2.7 years',
  ])
  t.end()
})

t.test('each durability is told for what it is', (t) => {
  t.strictSame(states(survival(settingsOf(t, ''))), ['crash ok', 'power cut ok', 'QoS 0 note'])
  const os = survival(settingsOf(t, 'store.durability = "os"'))
  t.strictSame(states(os), ['crash ok', 'power cut warn', 'QoS 0 note'])
  t.match(os[1]?.text, /last half minute/)
  t.strictSame(states(survival(settingsOf(t, 'store.durability = "ram"'))), [
    'crash warn',
    'power cut warn',
    'QoS 0 note',
  ])
  t.end()
})

t.test('lanes and rules that are kept less safely are told by name, and so is a store that writes nothing', (t) => {
  const mixed = survival(
    settingsOf(
      t,
      `lane.bulk.durability = "ram"
      topic = [{ filter = "readings/#", lane = "telemetry", durability = "os" }, { filter = "a", lane = "bulk" }]`,
    ),
  )
  t.strictSame(states(mixed), ['crash ok', 'power cut ok', 'lane bulk note', 'readings/# note', 'QoS 0 note'])
  t.match(mixed[2]?.text, /acknowledged at once/)
  t.match(mixed[3]?.text, /survive a crash of the broker; a power cut may take/)
  t.match(survival(settingsOf(t, 'store.durability = "ram"'))[0]?.text, /no file is written/)
  const kept = survival(settingsOf(t, 'store.durability = "ram"\nlane.control.durability = "disk"'))
  t.match(kept[0]?.text, /last moments/)
  t.end()
})

t.test('how long clients can be away follows from the bound that is met first', (t) => {
  const settings = settingsOf(
    t,
    'store.backlog_bytes_max = 100_000_000\nstore.backlog_count_max = 1_000_000\nstore.free_bytes_min = 0',
  )
  const at = (perSecond: number, bytesEach: number, freeBytes: number) =>
    endurance(settings, { perSecond, bytesEach }, freeBytes).text
  t.match(at(10, 1000, 1e12), /at 10 msg\/s of 1000 B .* for 2 h 46 min \(store.backlog_bytes_max\)/)
  t.match(at(10, 10, 1e12), /for 1 d 3 h \(store.backlog_count_max\)/)
  t.match(at(0.5, 1000, 12_470_588), /at 0.5 msg\/s .* for 5 h 33 min \(free space\)/)
  t.end()
})

t.test('more commits wear a card more, and larger messages too', (t) => {
  const written = (perSecond: number, bytesEach: number, intervalMs: number) =>
    writtenPerDay({ perSecond, bytesEach }, intervalMs)
  t.ok(written(10, 150, 5) > 8 * written(1, 150, 5))
  t.ok(written(1000, 150, 5) < 100 * written(10, 150, 5), 'messages share commits')
  t.ok(written(1000, 150, 1000) < written(1000, 150, 5) / 2)
  t.match(wear(1e9, true), { state: 'note', text: /it writes about 1000 MB a day.*29\.2 years/ })
  t.match(wear(20e9, false), {
    state: 'warn',
    text: /would write about 20000 MB a day.*commit_wait_ms_max writes less/,
  })
  t.end()
})

t.test('what a budget for the flash costs and saves is told for each rate', (t) => {
  const { store } = settingsOf(t, 'store.flash_budget_mb_per_day = 2000\nstore.commit_wait_ms_max = 1000')
  const at = (perSecond: number, changes: Partial<Settings['store']> = {}) =>
    expectedWear({ perSecond, bytesEach: 150 }, { ...store, ...changes })
  t.equal(at(1).waitMs, 5)
  t.ok(at(10).bytesPerDay < 2e9 && at(10).waitMs > 200 && at(10).waitMs < 1000, `${at(10).waitMs} ms`)
  t.equal(at(100_000).waitMs, 5, 'commits are full without waiting')
  t.ok(at(100).waitMs > 90 && at(100).waitMs < 130, `the messages alone are more, and wait ${at(100).waitMs} ms`)
  t.ok(at(100).bytesPerDay < at(100, { flashBudgetMbPerDay: 0 }).bytesPerDay / 5)
  t.ok(at(10, { commitWaitMsMax: 100 }).bytesPerDay > 2e9)
  t.equal(at(10, { flashBudgetMbPerDay: 0 }).waitMs, 5)
  t.match(wear(1e9, false, 380).text, /about 1000 MB a day, for which messages wait 380 ms/)
  t.end()
})

t.test('a data directory in memory, and one without enough space', (t) => {
  if (existsSync('/dev/shm')) {
    const dataDir = mkdtempSync('/dev/shm/tidegate-doctor-')
    t.teardown(() => rmSync(dataDir, { recursive: true }))
    const { findings, freeBytes } = examineDisk(settingsOf(t, `data_dir = "${dataDir}"`))
    t.match(findings, [{ state: 'ok' }, { state: 'warn', text: /tmpfs: it is in memory/ }, { topic: 'free space' }])
    t.ok(freeBytes > 0)
  }
  const nowhere = examineDisk(settingsOf(t, 'data_dir = "nowhere/yet"'))
  t.match(nowhere.findings[0], { state: 'ok', text: /nowhere\/yet, which is made at the first start/ })
  const settings = settingsOf(t, '')
  const bounded = (store: Partial<Settings['store']>) =>
    examineDisk({ ...settings, store: { ...settings.store, ...store } })
  const huge = bounded({ freeBytesMin: 1e15 })
  t.match(huge.findings[2], { state: 'fail', text: /less than store.free_bytes_min/ })
  const share = bounded({ freePercentMin: 100 })
  t.match(share.findings[2], { state: 'fail', text: /less than store.free_percent_min/ })
  const large = bounded({ backlogBytesMax: 1e15 })
  t.match(large.findings[2], { state: 'warn', text: /less than store.backlog_bytes_max/ })
  t.end()
})

t.test('a clock that was never set', (t) => {
  t.match(examineClock(5000), [{ state: 'fail', text: /1970-01-01/ }])
  t.equal(examineClock(Date.now())[0]?.state, 'ok')
  t.end()
})

t.test('serial ports that are absent', (t) => {
  const settings = settingsOf(t, '[[serial]]\nname = "meter"\npath = "/dev/nothing-here"')
  t.match(examineSerials(settings), [{ topic: 'serial meter', state: 'warn', text: /plug it in/ }])
  t.end()
})

t.test('certificates are looked at before they end', async (t) => {
  const directory = t.testdir({})
  await makeCertificates({ directory, hosts: ['localhost'], clients: ['gateway-1'], force: false })
  const toml = `[[bridge]]
name = "cloud"
address = "tls://127.0.0.1:8883"
ca = "${directory}/ca.crt"
certificate = "${directory}/gateway-1.crt"
private_key = "${directory}/gateway-1.key"
`
  writeFileSync(join(directory, 'x.toml'), toml)
  const loaded = loadSettings('edge', join(directory, 'x.toml'), {})
  if (!loaded.ok) throw loaded.error[0]
  const at = (wallMs: number) => examineCertificates(loaded.value, wallMs).map(({ state }) => state)
  t.strictSame(at(Date.now()), ['ok', 'ok'])
  t.strictSame(at(Date.now() + 200 * 365 * day * 1000), ['fail', 'fail'])
  t.strictSame(at(0), ['fail', 'fail'], 'not yet good')
  writeFileSync(join(directory, 'ca.crt'), 'no certificate')
  t.equal(at(Date.now())[0], 'fail')
})

t.test('the command works without a broker, and asks one that runs', async (t) => {
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'tidegate-doctor-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const dataDir = join(folder, 'data')
  const env = { TIDEGATE_DATA_DIR: dataDir, TIDEGATE_LISTENER__0__BIND: '127.0.0.1:0' }
  const alone = await runCommand(['doctor', '--json'], { env })
  t.equal(alone.code, 0, alone.stderr)
  t.match(JSON.parse(alone.stdout)[0], { topic: 'broker', text: /none runs/ })
  const broker = startCommand(['edge'], { env })
  t.teardown(async () => {
    broker.kill('SIGKILL')
    if (broker.exitCode === null && broker.signalCode === null) await once(broker, 'exit')
  })
  await new Lines(broker.stderr).with('started')
  const { code, stdout } = await runCommand(['doctor'], {
    env: { ...env, TIDEGATE_STORE__FREE_BYTES_MIN: String(2 ** 40) },
  })
  t.equal(code, 1, 'something will not work')
  t.match(stdout, /^ +broker +it runs\n/)
  t.match(stdout, /\nFAIL {2}free space/)
  const wrong = await runCommand(['doctor'], { env: { TIDEGATE_STORE__DURABILITY: 'paper' } })
  t.equal(wrong.code, 2)
})
