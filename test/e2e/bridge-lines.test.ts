/** The ways of a bridge on real sockets: TLS with certificates that change, WebSocket, several addresses, several bridges. */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, connect as connectTcp, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls'
import t, { type Test } from 'tap'
import {
  type Authority,
  createAuthority,
  type IssuedCertificate,
  issueClientCertificate,
  issueServerCertificate,
} from '../../src/adapters/certificates/authority.ts'
import { bridgeTo, connect, folderOf, payloadsAt, startNode, until } from './node-stage.ts'

t.setTimeout(600_000)

const dayMs = 86_400_000

/** A handshake as the server saw it. */
interface Handshake {
  readonly name: string
  readonly protocol: string | null
  readonly isResumed: boolean
}

/** TLS in front of a plain listener, which tells how each client came. */
async function tlsDoor(t: Test, innerPort: number, options: TlsOptions) {
  const handshakes: Handshake[] = []
  const sockets = new Set<Socket>()
  const server = createTlsServer({ requestCert: true, rejectUnauthorized: true, ...options })
  server.on('secureConnection', (outer: TLSSocket) => {
    const inner = connectTcp(innerPort, '127.0.0.1')
    const name = String(outer.getPeerCertificate().subject?.CN ?? '')
    handshakes.push({ name, protocol: outer.getProtocol(), isResumed: outer.isSessionReused() })
    for (const [socket, other] of [[outer, inner] as const, [inner, outer] as const]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => other.destroy())
      socket.pipe(other)
    }
  })
  server.on('tlsClientError', () => undefined)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => {
    for (const socket of sockets) socket.destroy()
    sockets.clear()
  }
  t.teardown(() => {
    cut()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, handshakes, cut, server }
}

function serverOptions(server: IssuedCertificate, clientCa: Authority): TlsOptions {
  return { cert: server.certificate, key: server.privateKey, ca: clientCa.certificate }
}

/** Certificate files of a gateway, which can be written again. */
function gatewayFiles(t: Test) {
  const folder = folderOf(t)
  const path = (name: string) => join(folder, name)
  return {
    toml: `ca = "${path('ca.crt')}"\ncertificate = "${path('gw.crt')}"\nprivate_key = "${path('gw.key')}"\nserver_name = "localhost"\n`,
    write(ca: Authority, client: IssuedCertificate) {
      writeFileSync(path('ca.crt'), ca.certificate)
      writeFileSync(path('gw.crt'), client.certificate)
      writeFileSync(path('gw.key'), client.privateKey)
    },
  }
}

t.test('TLS 1.3 with a client certificate: resumed after a loss, and not with a renewed certificate', async (t) => {
  const [former, next] = [await createAuthority(), await createAuthority()]
  const cloud = await startNode(t, 'cloud', 'above')
  const door = await tlsDoor(t, cloud.port, serverOptions(await issueServerCertificate(former, ['localhost']), former))
  const files = gatewayFiles(t)
  files.write(former, await issueClientCertificate(former, 'gw-2025'))
  const bridge = bridgeTo(`tls://127.0.0.1:${door.port}`, files.toml)
  const edge = await startNode(t, 'edge', 'gw', bridge)
  const arrived = await payloadsAt(t, cloud.port, 'temp')
  const device = await connect(t, edge.port)
  /** A message crosses each connection, so that the ticket for the next one came. */
  const cross = async (payload: string) => {
    await device.publishAsync('temp', payload, { qos: 1 })
    await until(() => arrived.includes(payload))
  }
  await cross('1')
  door.cut()
  await cross('2')
  t.strictSame(door.handshakes, [
    { name: 'gw-2025', protocol: 'TLSv1.3', isResumed: false },
    { name: 'gw-2025', protocol: 'TLSv1.3', isResumed: true },
  ])

  // The authority changes as well: the server first, then the files of the gateway.
  door.server.setSecureContext(serverOptions(await issueServerCertificate(next, ['localhost']), next))
  door.cut()
  await device.publishAsync('temp', '3', { qos: 1 })
  await until(() =>
    edge.log.lines.some(({ fields }) => /not signed by a CA|self.signed|CA/.test(String(fields['err']))),
  )
  files.write(next, await issueClientCertificate(next, 'gw-2026'))
  t.strictSame(await edge.reload(bridge), [], 'SIGHUP takes renewed certificates over without a restart')
  await until(() => arrived.includes('3'))
  t.strictSame(door.handshakes.at(-1), { name: 'gw-2026', protocol: 'TLSv1.3', isResumed: false })
  t.strictSame(arrived, ['1', '2', '3'])
})

t.test('a server certificate that is not valid yet, as to a clock that lags, is only waited for', async (t) => {
  const authority = await createAuthority()
  const cloud = await startNode(t, 'cloud', 'above')
  const validity = { notBefore: new Date(Date.now() + 3000), notAfter: new Date(Date.now() + dayMs) }
  const server = await issueServerCertificate(authority, ['localhost'], validity)
  const door = await tlsDoor(t, cloud.port, serverOptions(server, authority))
  const files = gatewayFiles(t)
  files.write(authority, await issueClientCertificate(authority, 'gw'))
  const edge = await startNode(t, 'edge', 'gw', bridgeTo(`tls://127.0.0.1:${door.port}`, files.toml))
  await until(() => edge.log.lines.some(({ fields }) => /not valid yet; is the clock/.test(String(fields['err']))))
  t.not((await edge.bridge()).state, 'online')
  await until(async () => (await edge.bridge()).state === 'online')
  t.ok(Date.now() >= validity.notBefore.getTime() - 1000)
})

t.test('WSS with a client certificate carries both directions', async (t) => {
  const authority = await createAuthority()
  const files = gatewayFiles(t)
  files.write(authority, await issueClientCertificate(authority, 'barn-7'))
  const folder = folderOf(t)
  const server = await issueServerCertificate(authority, ['localhost'])
  writeFileSync(join(folder, 's.crt'), server.certificate)
  writeFileSync(join(folder, 's.key'), server.privateKey)
  writeFileSync(join(folder, 'ca.crt'), authority.certificate)
  const tls = `certificate = "${folder}/s.crt"\nprivate_key = "${folder}/s.key"\nca = "${folder}/ca.crt"\n`
  const plain = await startNode(t, 'cloud', 'port')
  await plain.stop()
  const listener = `type = "wss"\npath = "/up"\ngateways = true\nmountpoint = "g/{identity}/"\n${tls}`
  const local = `[[listener]]\ntype = "tcp"\nbind = "127.0.0.1:${plain.port}"\n`
  const cloud = await startNode(t, 'cloud', 'above', local, { listener })
  const down = '[[bridge.out]]\nfilter = "up/#"\n[[bridge.in]]\nfilter = "cmd/#"\n'
  const edge = await startNode(t, 'edge', 'gw', bridgeTo(`wss://127.0.0.1:${cloud.port}/up`, files.toml + down))
  const [above, below] = [await payloadsAt(t, plain.port, 'g/barn-7/up/#'), await payloadsAt(t, edge.port, 'cmd/#')]
  await until(async () => (await edge.bridge()).state === 'online')
  await (await connect(t, edge.port)).publishAsync('up/temp', '21', { qos: 1 })
  await (await connect(t, plain.port)).publishAsync('g/barn-7/cmd/led', 'on', { qos: 1 })
  await until(() => above.length > 0 && below.length > 0)
  t.strictSame([above, below], [['21'], ['on']])
  t.match(await edge.bridge(), { health: 'ok', state: 'online' })
})

t.test('lazy: connects when so many messages wait, and leaves when nothing passed for a while', async (t) => {
  const cloud = await startNode(t, 'cloud', 'above')
  const arrived = await payloadsAt(t, cloud.port, '#')
  const lazy = 'start_type = "lazy"\nthreshold = 3\nidle_timeout_seconds = 1\n'
  const edge = await startNode(t, 'edge', 'gw', bridgeTo(`tcp://127.0.0.1:${cloud.port}`, lazy))
  const device = await connect(t, edge.port)
  for (const round of [0, 3]) {
    await device.publishAsync('temp', String(round + 1), { qos: 1 })
    await device.publishAsync('temp', String(round + 2), { qos: 1 })
    await wait(1100)
    t.match(await edge.bridge(), { state: 'stopped', backlogCount: 2 }, 'two are not enough')
    await device.publishAsync('temp', String(round + 3), { qos: 1 })
    await until(() => arrived.length === round + 3)
    t.equal((await edge.bridge()).state, 'online')
    await until(async () => (await edge.bridge()).state === 'stopped')
  }
  t.strictSame(arrived, ['1', '2', '3', '4', '5', '6'])
})

t.test('once: connected at the start, and not again after a loss', async (t) => {
  const cloud = await startNode(t, 'cloud', 'above')
  const edge = await startNode(t, 'edge', 'gw', bridgeTo(`tcp://127.0.0.1:${cloud.port}`, 'start_type = "once"\n'))
  await until(async () => (await edge.bridge()).state === 'online')
  await cloud.stop()
  await until(async () => (await edge.bridge()).state === 'stopped')
  await cloud.start()
  await (await connect(t, edge.port)).publishAsync('temp', '1', { qos: 1 })
  await wait(1500)
  t.match(await edge.bridge(), { state: 'stopped', backlogCount: 1 }, 'what waits is kept')
})

t.test('several bridges in one edge go their own ways, and one that is cut off holds up no other', async (t) => {
  const [left, right] = [await startNode(t, 'cloud', 'left'), await startNode(t, 'cloud', 'right')]
  const rules = (filter: string) => `[[bridge.out]]\nfilter = "shared/#"\n[[bridge.out]]\nfilter = "${filter}"\n`
  const edge = await startNode(
    t,
    'edge',
    'gw',
    bridgeTo(`tcp://127.0.0.1:${left.port}`, rules('l/#'), 'left') +
      bridgeTo(`tcp://127.0.0.1:${right.port}`, rules('r/#'), 'right'),
  )
  const atLeft = await payloadsAt(t, left.port, '#')
  const device = await connect(t, edge.port)
  await right.stop()
  for (const topic of ['shared/1', 'l/1', 'r/1', 'shared/2']) await device.publishAsync(topic, topic, { qos: 1 })
  await until(() => atLeft.length === 3)
  t.strictSame(atLeft, ['shared/1', 'l/1', 'shared/2'])
  t.equal((await edge.bridge('right')).backlogCount >= 3, true)
  t.equal((await edge.bridge('left')).health, 'ok')
  await right.start()
  const atRight = await payloadsAt(t, right.port, '#')
  await device.publishAsync('shared/3', 'shared/3', { qos: 1 })
  await until(() => atRight.includes('shared/3') && atLeft.includes('shared/3'))
  await until(async () => (await edge.bridge('right')).forwardedCount >= 4)
  t.equal((await edge.bridge('right')).rejectedCount, 0)
})

t.test(
  'several addresses: another one serves while the preferred one is away, and is left when that is back',
  async (t) => {
    const preferred = await startNode(t, 'cloud', 'first', '', { isStopped: true })
    const other = await startNode(t, 'cloud', 'second')
    const more = `fallback_addresses = ["tcp://127.0.0.1:${other.port}"]\nreturn_seconds = 1\n`
    const edge = await startNode(t, 'edge', 'gw', bridgeTo(`tcp://127.0.0.1:${preferred.port}`, more))
    const atOther = await payloadsAt(t, other.port, 'temp')
    const device = await connect(t, edge.port)
    await device.publishAsync('temp', '1', { qos: 1 })
    await until(() => atOther.length === 1)
    await preferred.start()
    const atPreferred = await payloadsAt(t, preferred.port, 'temp')
    const moved = () => edge.log.lines.some(({ message }) => message === 'preferred address answers')
    let sent = 1
    while (!moved()) await device.publishAsync('temp', String(++sent), { qos: 1 })
    await device.publishAsync('temp', String(++sent), { qos: 1 })
    await until(() => atPreferred.at(-1) === String(sent))
    const all = [...new Set([...atOther, ...atPreferred])].map(Number).sort((a, b) => a - b)
    t.strictSame(
      all,
      Array.from({ length: sent }, (_, n) => n + 1),
      'nothing was lost on the way',
    )
    t.match(await edge.bridge(), { state: 'online', backlogCount: 0 })
  },
)
