/** The wall clock of a process that runs jumps by fifty years and back (libfaketime): nothing comes early, late or not at all. */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAsync, type IClientOptions, type IPublishPacket, type MqttClient, connect as open } from 'mqtt'
import t from 'tap'
import { runCommand } from '../fixtures/tidegate-command.ts'
import { startEdge } from './interop-stage.ts'

t.setTimeout(600_000)

const hourSeconds = 3600

t.test('delays, wills, expiry and sessions do not notice that the wall clock jumps by fifty years', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-clock-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const offset = join(folder, 'offset')
  const jump = (by: string) => writeFileSync(offset, by)
  jump('+0')
  const env = {
    LD_PRELOAD: libraryPath(),
    FAKETIME_TIMESTAMP_FILE: offset,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  }
  t.match(
    (await runCommand(['doctor'], { env: { ...env, FAKETIME: '+50y' } })).stdout,
    /clock +20[789]\d-/,
    'it does jump',
  )

  const edge = await startEdge(t, '', env)
  const url = `mqtt://127.0.0.1:${edge.port}`
  const options = (clientId: string): IClientOptions => ({ clientId, protocolVersion: 5, reconnectPeriod: 0 })
  const connect = (clientId: string, more: IClientOptions = {}): Promise<MqttClient> =>
    connectAsync(url, { ...options(clientId), ...more })
  const durable: IClientOptions = { clean: false, properties: { sessionExpiryInterval: hourSeconds } }

  const away = await connect('away', durable)
  await away.subscribeAsync('readings', { qos: 1 })
  await away.endAsync()
  const watcher = await connect('watcher')
  const seen: { topic: string; atMs: number }[] = []
  watcher.on('message', (topic) => seen.push({ topic, atMs: performance.now() }))
  await watcher.subscribeAsync(['will', 'delayed', 'never'], { qos: 1 })
  const dying = await connect('dying', {
    ...durable,
    will: { topic: 'will', payload: Buffer.from('gone'), qos: 1, retain: false, properties: { willDelayInterval: 6 } },
  })
  const publisher = await connect('publisher')
  const expiring = { qos: 1, properties: { messageExpiryInterval: hourSeconds } } as const
  await publisher.publishAsync('readings', '20.5', expiring)
  await publisher.publishAsync('state', 'open', { ...expiring, retain: true })
  await publisher.publishAsync('$delayed/6/delayed', '', { qos: 1 })
  await publisher.publishAsync('$delayed/3600/never', '', { qos: 1 })
  const startMs = performance.now()
  dying.stream.destroy()

  for (const by of ['+50y', '-20y', '+0', '+50y']) {
    jump(by)
    await pass(500)
  }
  t.strictSame(seen, [], 'nothing comes early')
  while (seen.length < 2 && performance.now() < startMs + 20_000) await pass(50)
  t.strictSame(seen.map(({ topic }) => topic).sort(), ['delayed', 'will'])
  for (const { topic, atMs } of seen) {
    t.ok(atMs - startMs > 5000 && atMs - startMs < 12_000, `${topic} after ${Math.round(atMs - startMs)} ms`)
  }

  await edge.kill()
  jump('-20y')
  await edge.start()
  // What waits may come with CONNACK, before anybody who waited for that could listen.
  const back = open(url, { ...options('away'), ...durable })
  const queued = await received(back)
  t.equal(queued.payload.toString(), '20.5', 'the session and its message outlived the jumps and a kill')
  t.ok(
    Number(queued.properties?.messageExpiryInterval) > hourSeconds - 120,
    'expiry counts what passed, not what the clock says',
  )
  const retained = received(back)
  await back.subscribeAsync('state')
  t.equal((await retained).payload.toString(), 'open')
  await back.endAsync()
})

/** Debian keeps it in a folder for the processor. */
function libraryPath(): string {
  const files = readdirSync('/usr/lib').map((name) => join('/usr/lib', name, 'faketime/libfaketime.so.1'))
  return files.find((file) => existsSync(file)) ?? 'libfaketime.so.1'
}

function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function received(client: MqttClient): Promise<IPublishPacket> {
  return new Promise((resolve) => client.once('message', (_topic, _payload, packet) => resolve(packet)))
}
