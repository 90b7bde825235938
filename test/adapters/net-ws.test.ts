import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { lstatSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectMqtt, type IClientOptions, MqttClient } from 'mqtt'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { listenerPolicy } from '../../src/adapters/auth-listener/policy.ts'
import type { NetListener } from '../../src/adapters/net/listener.ts'
import { listenTcp } from '../../src/adapters/net/tcp.ts'
import { listenUnix } from '../../src/adapters/net/unix.ts'
import { webSocketLinks } from '../../src/adapters/net/web-socket.ts'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import { createSystemClock } from '../../src/adapters/system/clock.ts'
import { systemRandom } from '../../src/adapters/system/random.ts'
import { Broker } from '../../src/broker/broker.ts'
import { loadSettings } from '../../src/config/load.ts'
import { must } from '../../src/lib/assert.ts'
import { brokerSettings } from '../../src/node/broker-settings.ts'
import { Listeners } from '../../src/node/listeners.ts'
import type { ListenerTraits } from '../../src/ports/transport.ts'
import { RecordingLog } from '../fakes/recording-log.ts'
import { RecordingAcceptor, type RecordingOwner } from '../fakes/recording-owner.ts'

const packetBytesMax = 1_000_000
const traits: ListenerTraits = {
  name: 'ws test',
  mountpoint: undefined,
  requireIdentity: false,
  allowAnonymous: true,
  acceptsGateways: false,
}

type Stage = { listener: NetListener; acceptor: RecordingAcceptor; log: RecordingLog; url: string }

async function listen(t: Test): Promise<Stage> {
  const acceptor = new RecordingAcceptor()
  const log = new RecordingLog()
  const openLink = webSocketLinks({ path: '/mqtt', packetBytesMax, sameHostOnly: true })
  const listener = await listenTcp({ bind: { host: '127.0.0.1', port: 0 }, openLink }, acceptor, traits, log)
  t.teardown(() => {
    for (const owner of acceptor.owners) owner.link.destroy()
    return listener.close()
  })
  return { listener, acceptor, log, url: `ws://127.0.0.1:${listener.address.port}/mqtt` }
}

/** A client and the owner of its link on our side. */
async function pair(t: Test, stage: Stage): Promise<{ client: WebSocket; socket: Socket; owner: RecordingOwner }> {
  const client = new WebSocket(stage.url, ['mqtt'])
  client.on('error', () => {})
  t.teardown(() => client.terminate())
  const upgraded = once(client, 'upgrade')
  await once(client, 'open')
  const [response] = (await upgraded) as [{ socket: Socket }]
  return { client, socket: response.socket, owner: await stage.acceptor.next() }
}

/** Exactly the next `byteCount` bytes, in however many messages. */
async function read(client: WebSocket, byteCount: number): Promise<Buffer[]> {
  const messages: Buffer[] = []
  for (let count = 0; count < byteCount; ) {
    const [message] = (await once(client, 'message')) as [Buffer]
    messages.push(message)
    count += message.length
  }
  return messages
}

/** A folder whose name leaves room for that of a socket. */
function shortFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'net-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}

function sha(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

t.test('bytes come and go in order, whatever the messages around them [MQTT-6.0.0-2]', async (t) => {
  const stage = await listen(t)
  const { client, owner } = await pair(t, stage)
  for (const part of ['a', 'bc', '', 'd']) client.send(Buffer.from(part))
  client.send(Buffer.from('in frag'), { fin: false })
  client.send(Buffer.from('ments'), { fin: true })
  await owner.until(() => owner.received.length === 16)
  t.equal(owner.received.toString(), 'abcdin fragments')
  t.equal(owner.link.identity, undefined)
  t.match(owner.link.remote, /^127\.0\.0\.1:\d+$/)
  t.equal(stage.acceptor.traits[0], traits)
})

t.test('several pieces of one send are one message', async (t) => {
  const { client, owner } = await pair(t, await listen(t))
  const isBinary = new Promise((resolve) => client.once('message', (_bytes, isBinary) => resolve(isBinary)))
  owner.send('a', 'b', 'c')
  t.strictSame((await read(client, 3)).map(String), ['abc'])
  t.equal(await isBinary, true)
  owner.send()
  owner.send('single')
  t.strictSame((await read(client, 6)).map(String), ['single'])
})

t.test('the subprotocol that is chosen is mqtt [MQTT-6.0.0-4]', async (t) => {
  const { url } = await listen(t)
  for (const [offered, chosen] of [
    [['mqtt'], 'mqtt'],
    [['mqttv3.1', 'mqtt'], 'mqtt'],
    [['other', 'mqtt'], 'mqtt'],
    [['mqttv3.1'], 'mqttv3.1'],
  ] as const) {
    const client = new WebSocket(`${url}?token=x`, [...offered])
    await once(client, 'open')
    t.equal(client.protocol, chosen)
    t.equal(client.extensions, '')
    client.terminate()
  }
})

t.test('a client that does not offer the subprotocol gets a status with the reason [MQTT-6.0.0-3]', async (t) => {
  const { url, log, acceptor, listener } = await listen(t)
  for (const offered of [[], ['amqp']]) {
    const client = new WebSocket(url, offered)
    const [error] = (await once(client, 'error')) as [Error]
    t.equal(error.message, 'Unexpected server response: 400')
  }
  const lost = new WebSocket(url.replace('/mqtt', '/elsewhere'), ['mqtt'])
  t.match(await once(lost, 'error'), [{ message: 'Unexpected server response: 404' }])
  t.match(log.fieldsOf('client refused'), [
    { reason: 'does not offer the subprotocol mqtt' },
    { reason: 'does not offer the subprotocol mqtt' },
    { reason: 'asks for another path than /mqtt', remote: /^127/ },
  ])
  t.equal(acceptor.owners.length, 0)
  const probe = connect(listener.address)
  await once(probe, 'connect')
  probe.destroy()
})

t.test('where anybody gets in, pages of other hosts do not', async (t) => {
  const { url, acceptor } = await listen(t)
  for (const origin of ['https://elsewhere.example', 'null']) {
    const page = new WebSocket(url, ['mqtt'], { origin })
    t.match(await once(page, 'error'), [{ message: 'Unexpected server response: 403' }], origin)
  }
  t.equal(acceptor.owners.length, 0)
  const own = new WebSocket(url, ['mqtt'], { origin: 'http://127.0.0.1:18083' })
  own.on('error', () => {})
  await once(own, 'open')
  own.terminate()
})

t.test('what is no WebSocket is told so', async (t) => {
  const { url, log, listener } = await listen(t)
  for (const [path, status, body] of [
    ['/mqtt', 426, 'asks for no WebSocket\n'],
    ['/', 404, 'asks for another path than /mqtt\n'],
  ] as const) {
    const asking = request(new URL(path, url.replace('ws:', 'http:'))).end()
    const [response] = await once(asking, 'response')
    t.equal(response.statusCode, status)
    t.equal(Buffer.concat(await response.toArray()).toString(), body)
  }
  for (const [bytes, answer, reason] of [
    [Buffer.from('101000044d51545404020000000461626364', 'hex'), /^HTTP\/1.1 400/, 'speaks no HTTP'],
    [
      'GET /mqtt HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n',
      /^HTTP\/1.1 400[\s\S]*Sec-WebSocket-Key/,
      'Missing or invalid Sec-WebSocket-Key header',
    ],
  ] as const) {
    const client = connect(listener.address)
    client.write(bytes)
    t.match(Buffer.concat(await client.toArray()).toString(), answer)
    t.match(log.fieldsOf('client refused').at(-1), { reason })
  }
})

t.test('a text message closes the link with status 1003 [MQTT-6.0.0-1]', async (t) => {
  const { client, owner } = await pair(t, await listen(t))
  client.send('text')
  client.send(Buffer.from('late'))
  t.equal((await once(client, 'close'))[0], 1003)
  const failure = await owner.untilClosed()
  t.equal(failure?.detail, `${owner.link.remote}: the peer sent text, where MQTT is binary`)
  t.equal(owner.chunks.length, 0)
})

t.test('a message beyond the largest packet closes the link with status 1009', async (t) => {
  const { client, owner } = await pair(t, await listen(t))
  const largest = randomBytes(packetBytesMax)
  client.send(largest)
  await owner.until(() => owner.received.length === largest.length)
  t.equal(sha(owner.received), sha(largest))
  client.send(randomBytes(packetBytesMax + 65_537))
  t.equal((await once(client, 'close'))[0], 1009)
  t.match(await owner.untilClosed(), { code: 'ERR_LINK_CLOSED', detail: /: Max payload size exceeded$/ })
})

t.test('what a slow peer does not read is counted, and its leaving is told once', async (t) => {
  const { client, owner } = await pair(t, await listen(t))
  client.pause()
  const bytes = randomBytes(16 * 1024 * 1024)
  owner.call((link) => link.send([bytes.subarray(0, 1000), bytes.subarray(1000)]))
  t.ok(owner.link.bufferedByteCount > 1_000_000, 'the kernel cannot have taken everything')
  t.equal(owner.drainCount, 0)
  const messages = read(client, bytes.length)
  client.resume()
  t.equal(sha(Buffer.concat(await messages)), sha(bytes))
  await owner.until(() => owner.drainCount > 0)
  t.equal(owner.link.bufferedByteCount, 0)
  owner.send('small')
  await read(client, 5)
  t.equal(owner.drainCount, 1, 'what left at once owes no drain')
})

t.test('a paused link delivers nothing until it is resumed', async (t) => {
  const stage = await listen(t)
  const paused = await pair(t, stage)
  const other = await pair(t, stage)
  other.owner.onChunk = (chunk) => other.owner.link.send([Buffer.from(chunk)])
  paused.owner.call((link) => link.pause())
  paused.client.send(Buffer.from('later'))
  for (let round = 0; round < 20; round++) {
    other.client.send(Buffer.from('ping'))
    await read(other.client, 4)
  }
  t.equal(paused.owner.chunks.length, 0)
  paused.owner.call((link) => link.resume())
  await paused.owner.until(() => paused.owner.received.length === 5)
})

t.test('end sends everything first, and drops what still comes', async (t) => {
  const { client, owner } = await pair(t, await listen(t))
  client.pause()
  owner.call((link) => link.pause())
  const bytes = randomBytes(4 * 1024 * 1024)
  owner.call((link) => link.send([bytes]))
  client.send(randomBytes(100_000))
  owner.call((link) => link.end())
  owner.call((link) => link.end())
  owner.send('too late')
  const messages = read(client, bytes.length)
  const closed = once(client, 'close')
  client.resume()
  t.equal(sha(Buffer.concat(await messages)), sha(bytes))
  t.equal((await closed)[0], 1000)
  t.equal(await owner.untilClosed(), undefined)
  t.equal(owner.chunks.length, 0)
})

t.test('every end is told once, with a failure when it was none of ours', async (t) => {
  const stage = await listen(t)
  const polite = await pair(t, stage)
  polite.client.close()
  t.equal(await polite.owner.untilClosed(), undefined)

  const reset = await pair(t, stage)
  reset.owner.call((link) => link.pause())
  reset.owner.call((link) => link.send([randomBytes(16 * 1024 * 1024)]))
  reset.socket.resetAndDestroy()
  t.match(await reset.owner.untilClosed(), { detail: `${reset.owner.link.remote}: connection reset by peer` })

  const destroyed = await pair(t, stage)
  destroyed.owner.call((link) => link.destroy())
  destroyed.owner.call((link) => link.destroy())
  t.notOk(destroyed.owner.isClosed)
  t.equal(await destroyed.owner.untilClosed(), undefined)

  const rude = await pair(t, stage)
  rude.socket.end()
  t.equal(await rude.owner.untilClosed(), undefined)

  const broken = await pair(t, stage)
  broken.socket.write(Buffer.from([0x82, 0x01, 0x00]))
  t.match(await broken.owner.untilClosed(), { code: 'ERR_LINK_CLOSED', detail: /MASK must be set/ })

  for (const { owner } of [polite, reset, destroyed, rude, broken]) {
    owner.send('into the void')
    owner.call((link) => link.end())
    owner.call((link) => link.destroy())
  }
  await new Promise((resolve) => setImmediate(resolve))
  for (const { owner } of [polite, reset, destroyed, rude, broken]) t.equal(owner.closings.length, 1)
  t.equal(stage.listener.linkCount, 0)
})

t.test('a peer that does not answer the closing handshake is cut off after two seconds', async (t) => {
  const { client, socket, owner } = await pair(t, await listen(t))
  client.pause()
  const startMs = performance.now()
  owner.call((link) => link.end())
  t.equal(await owner.untilClosed(), undefined)
  const tookMs = performance.now() - startMs
  t.ok(tookMs > 1900 && tookMs < 10_000, `${tookMs} ms`)
  socket.destroy()
})

t.test('pings are answered, but not piled up', async (t) => {
  const { client, owner } = await pair(t, await listen(t))
  client.ping('are you there')
  t.equal(String((await once(client, 'pong'))[0]), 'are you there')
  client.pause()
  owner.call((link) => link.send([randomBytes(16 * 1024 * 1024)]))
  const before = owner.link.bufferedByteCount
  for (let count = 0; count < 100; count++) client.ping('x')
  client.send(Buffer.from('behind'))
  await owner.until(() => owner.received.length === 6)
  t.ok(owner.link.bufferedByteCount <= before)
})

t.test('closing the listener cuts off who has not asked yet', async (t) => {
  const stage = await listen(t)
  const { client, owner } = await pair(t, stage)
  const silent = connect(stage.listener.address)
  await once(silent, 'connect')
  while (stage.listener.linkCount < 2) await new Promise((resolve) => setImmediate(resolve))
  await stage.listener.close()
  await once(silent, 'close')
  owner.send('still here')
  t.strictSame((await read(client, 10)).map(String), ['still here'])
})

t.test('a socket in the file system carries links for user and group', async (t) => {
  const path = join(shortFolder(t), 'tidegate.sock')
  const acceptor = new RecordingAcceptor()
  const log = new RecordingLog()
  const listener = await listenUnix({ path }, acceptor, traits, log)
  t.equal(lstatSync(path).mode & 0o777, 0o660)
  t.match(log.fieldsOf('listener open'), [{ bind: `unix:${path}` }])
  const client = connect(path)
  const owner = await acceptor.next()
  client.write('up')
  await owner.until(() => owner.received.toString() === 'up')
  owner.send('down')
  t.equal(String((await once(client, 'data'))[0]), 'down')
  t.equal(owner.link.remote, `unix:${path}#1`)

  const again = () => listenUnix({ path }, acceptor, traits, log)
  await t.rejects(again(), { code: 'ERR_LISTEN', detail: `bind = "unix:${path}" is in use by another program` })
  await listener.close()
  t.equal(lstatSync(path, { throwIfNoEntry: false }), undefined)
  client.destroy()
  await owner.untilClosed()
})

t.test('a socket that a dead process left behind is replaced, anything else is left alone', async (t) => {
  const folder = shortFolder(t)
  const file = join(folder, 'file')
  writeFileSync(file, 'precious')
  const path = join(folder, 'left.sock')
  const code = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  await once(spawn(process.execPath, ['-e', code]), 'exit')
  t.ok(lstatSync(path).isSocket())
  const open = (path: string) => listenUnix({ path }, new RecordingAcceptor(), traits, new RecordingLog())
  const listener = await open(path)
  const client = connect(path)
  await once(client, 'connect')
  client.destroy()
  await listener.close()
  await t.rejects(open(file), { code: 'ERR_LISTEN', detail: `bind = "unix:${file}" is a file that is no socket` })
  t.ok(lstatSync(file).isFile())
  await t.rejects(open(join(folder, 'nowhere', 'x.sock')), { code: 'ERR_LISTEN' })
  await t.rejects(open(join(folder, 'x'.repeat(107))), { code: 'ERR_LISTEN', detail: /is longer than 107 bytes$/ })
})

t.test('MQTT.js meets itself over every kind of listener, several of a kind, IPv4 and IPv6', async (t) => {
  const folder = shortFolder(t)
  const socketPath = join(folder, 'tidegate.sock')
  const config = join(folder, 'edge.toml')
  const hasSix = networkInterfaces()['lo']?.some(({ address }) => address === '::1') ?? false
  if (!hasSix) t.comment('no IPv6 here: its listeners are on IPv4')
  const six = hasSix ? '[::1]:0' : '127.0.0.1:0'
  const sixHost = hasSix ? '[::1]' : '127.0.0.1'
  const noCertificate = 'certificate = "auto"\nclient_certificate = "none"\nallow_anonymous = true'
  writeFileSync(
    config,
    `data_dir = "${folder}"
    [[listener]]
    type = "ws"
    bind = "127.0.0.1:0"
    [[listener]]
    type = "wss"
    bind = "127.0.0.1:0"
    path = "/"
    ${noCertificate}
    [[listener]]
    type = "tcp"
    bind = "unix:${socketPath}"
    [[listener]]
    type = "tls"
    bind = "127.0.0.1:0"
    ${noCertificate}
    [[listener]]
    type = "tcp"
    bind = "${six}"
    [[listener]]
    type = "tls"
    bind = "${six}"
    ${noCertificate}
    [[listener]]
    type = "ws"
    bind = "127.0.0.1:0"`,
  )
  const loaded = loadSettings('edge', config, {})
  if (!loaded.ok) throw loaded.error[0]
  const settings = loaded.value
  const [clock, log] = [createSystemClock(undefined), new RecordingLog()]
  const broker = new Broker({
    settings: brokerSettings(settings, '$edge/loss'),
    clock,
    random: systemRandom,
    log,
    store: new MemoryStore({ clock, random: systemRandom }),
    authenticator: listenerPolicy,
    authorizer: listenerPolicy,
    authenticationMethods: [],
    gate: undefined,
  })
  await broker.load(() => {})
  const listeners = await Listeners.open(settings, broker, log)
  const ports = log.fieldsOf('listener open').map(({ bind }) => String(bind).split(':').at(-1))

  const options: IClientOptions = { protocolVersion: 5, reconnectPeriod: 0, rejectUnauthorized: false }
  const clients = [
    connectMqtt(`ws://127.0.0.1:${ports[0]}/mqtt`, options),
    connectMqtt(`wss://127.0.0.1:${ports[1]}/`, options),
    new MqttClient(() => connect(socketPath), { ...options }),
    connectMqtt(`mqtts://127.0.0.1:${ports[3]}`, options),
    connectMqtt(`mqtt://${sixHost}:${ports[4]}`, options),
    connectMqtt(`mqtts://${sixHost}:${ports[5]}`, options),
    connectMqtt(`ws://127.0.0.1:${ports[6]}/mqtt`, options),
  ]
  const arrived = clients.map(() => new Map<string, string>())
  for (const [index, client] of clients.entries()) {
    client.on('message', (topic, payload) => must(arrived[index], 'map').set(topic, sha(payload)))
    await client.subscribeAsync('from/#', { qos: 1 })
  }
  const payloads = clients.map((_, index) => randomBytes(10 ** (2 + (index % 4))))
  const sent = new Map(payloads.map((payload, index) => [`from/${index}`, sha(payload)]))
  for (const [index, client] of clients.entries()) {
    await client.publishAsync(`from/${index}`, must(payloads[index], 'payload'), { qos: 2 })
  }
  while (arrived.some((topics) => topics.size < clients.length)) await new Promise((resolve) => setImmediate(resolve))
  for (const topics of arrived) t.strictSame(new Map([...topics].sort()), sent)
  for (const client of clients) await client.endAsync()
  await listeners.close()
  t.equal(lstatSync(socketPath, { throwIfNoEntry: false }), undefined)
  const opened = log.fieldsOf('listener closed').map(({ name }) => name)
  t.strictSame(opened, [
    ...['ws 127.0.0.1:0', 'wss 127.0.0.1:0', `tcp unix:${socketPath}`, 'tls 127.0.0.1:0'],
    ...[`tcp ${six}`, `tls ${six}`, 'ws 127.0.0.1:0'],
  ])
})

t.test('all listeners open or none', async (t) => {
  const busy = createServer().listen(0, '127.0.0.1')
  await once(busy, 'listening')
  t.teardown(() => busy.close())
  const folder = shortFolder(t)
  const path = join(folder, 'tidegate.sock')
  const config = join(folder, 'edge.toml')
  const { port } = busy.address() as AddressInfo
  const block = (bind: string) => `[[listener]]\ntype = "tcp"\nbind = "${bind}"\n`
  writeFileSync(config, block(`unix:${path}`) + block(`127.0.0.1:${port}`))
  const loaded = loadSettings('edge', config, {})
  if (!loaded.ok) throw loaded.error[0]
  await t.rejects(Listeners.open(loaded.value, new RecordingAcceptor(), new RecordingLog()), { code: 'ERR_LISTEN' })
  t.equal(lstatSync(path, { throwIfNoEntry: false }), undefined)
})
