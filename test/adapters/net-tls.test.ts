import { EventEmitter, once } from 'node:events'
import { copyFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import {
  type ConnectionOptions,
  connect as connectTls,
  createServer as createTlsServer,
  type TLSSocket,
} from 'node:tls'
import t, { type Test } from 'tap'
import {
  type Authority,
  createAuthority,
  type IssuedCertificate,
  issueClientCertificate,
  issueServerCertificate,
  type Validity,
} from '../../src/adapters/certificates/authority.ts'
import { createTcpDialer, createTlsDialer, type TlsDialSettings } from '../../src/adapters/net/dial.ts'
import { webSocketClient } from '../../src/adapters/net/dial-web-socket.ts'
import { listenTcp } from '../../src/adapters/net/tcp.ts'
import { listenTls, type TlsFiles, type TlsListener } from '../../src/adapters/net/tls.ts'
import { webSocketLinks } from '../../src/adapters/net/web-socket.ts'
import { Failure } from '../../src/lib/errors.ts'
import type { Dialer, ListenerTraits } from '../../src/ports/transport.ts'
import { RecordingLog } from '../fakes/recording-log.ts'
import { RecordingAcceptor, RecordingOwner } from '../fakes/recording-owner.ts'

const loopback = { host: '127.0.0.1', port: 0 }
const traits: ListenerTraits = {
  name: 'tls test',
  mountpoint: undefined,
  requireIdentity: true,
  allowAnonymous: false,
  acceptsGateways: false,
}
const dayMs = 24 * 3_600_000
const lastWeek: Validity = { notBefore: new Date(Date.now() - 9 * dayMs), notAfter: new Date(Date.now() - 2 * dayMs) }

const authority = await createAuthority()
const stranger = await createAuthority()
const server = await issueServerCertificate(authority, ['localhost', '127.0.0.1'])
const barn = await issueClientCertificate(authority, 'barn-7')

/** PEM files as the settings name them. */
class Files {
  readonly #directory: string

  constructor(t: Test) {
    this.#directory = t.testdir({})
  }

  path(name: string): string {
    return join(this.#directory, name)
  }

  write(name: string, pem: string): string {
    writeFileSync(this.path(name), pem)
    return this.path(name)
  }

  pair(name: string, issued: IssuedCertificate): { certificate: string; privateKey: string } {
    return {
      certificate: this.write(`${name}.crt`, issued.certificate),
      privateKey: this.write(`${name}.key`, issued.privateKey),
    }
  }

  server(issued = server, ca: Authority = authority): TlsFiles {
    return { ...this.pair('server', issued), ca: this.write('ca.crt', ca.certificate) }
  }
}

type Stage = { files: Files; listener: TlsListener; acceptor: RecordingAcceptor; log: RecordingLog }

async function listen(
  t: Test,
  settings: { traits?: ListenerTraits; server?: IssuedCertificate; handshakeTimeoutMs?: number } = {},
): Promise<Stage> {
  const files = new Files(t)
  const acceptor = new RecordingAcceptor()
  const log = new RecordingLog()
  const { handshakeTimeoutMs = 10_000 } = settings
  const tls = { bind: loopback, files: files.server(settings.server), handshakeTimeoutMs }
  const listener = await listenTls(tls, acceptor, settings.traits ?? traits, log)
  t.teardown(() => {
    for (const owner of acceptor.owners) owner.link.destroy()
    return listener.close()
  })
  return { files, listener, acceptor, log }
}

/** A client that is not ours. */
function connectClient(t: Test, stage: Stage, client?: IssuedCertificate, options: ConnectionOptions = {}): TLSSocket {
  const own = client === undefined ? {} : { cert: client.certificate, key: client.privateKey }
  const socket = connectTls({ ...stage.listener.address, ca: authority.certificate, ...own, ...options })
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket.resume()
}

function dialer(stage: Stage, settings: Partial<TlsDialSettings> = {}): Dialer {
  return createTlsDialer({
    address: stage.listener.address,
    timeoutMs: 5000,
    ca: stage.files.path('ca.crt'),
    client: stage.files.pair('barn-7', barn),
    serverName: 'localhost',
    ...settings,
  })
}

function dialOnce(dialer: Dialer): Promise<RecordingOwner | Failure> {
  return new Promise((resolve) => {
    dialer.dial({
      onConnected(link) {
        const owner = new RecordingOwner(link)
        resolve(owner)
        return owner
      },
      onFailed: resolve,
    })
  })
}

async function dialLink(dialer: Dialer): Promise<RecordingOwner> {
  const end = await dialOnce(dialer)
  if (end instanceof Failure) throw end
  return end
}

/** `once` would reject with the error that comes before. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.resume().once('close', () => resolve()))
}

async function rawServer(t: Test, onSocket: (socket: Socket) => void): Promise<{ host: string; port: number }> {
  const server: Server = createServer(onSocket)
  server.listen(loopback)
  t.teardown(() => server.close())
  await once(server, 'listening')
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

t.test('the common name of the client certificate is the identity', async (t) => {
  const stage = await listen(t)
  const client = connectClient(t, stage, barn)
  const owner = await stage.acceptor.next()
  t.equal(owner.link.identity, 'barn-7')
  t.equal(owner.link.remote, `127.0.0.1:${client.localPort}`)
  t.equal(stage.listener.linkCount, 1)
  owner.onChunk = (chunk) => owner.link.send([Buffer.from(chunk), Buffer.from('!')])
  client.write('hello')
  const [answer] = await once(client, 'data')
  t.equal(answer.toString(), 'hello!')
  client.end()
  t.equal(await owner.untilClosed(), undefined)
})

t.test('a session that is resumed keeps its identity', async (t) => {
  const stage = await listen(t)
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const first = connectClient(t, stage, barn, { maxVersion })
    const session = once(first, 'session')
    const owner = await stage.acceptor.next()
    owner.send('x')
    first.end()
    await owner.untilClosed()
    const second = connectClient(t, stage, barn, { maxVersion, session: (await session)[0] })
    t.equal((await stage.acceptor.next()).link.identity, 'barn-7')
    t.ok(second.isSessionReused(), maxVersion)
  }
})

t.test('a drain is owed as soon as the system has not taken everything', async (t) => {
  const stage = await listen(t)
  connectClient(t, stage, barn)
  const owner = await stage.acceptor.next()
  owner.send('far below any high-water mark')
  t.ok(owner.link.bufferedByteCount > 0)
  await owner.until(() => owner.drainCount === 1)
  t.equal(owner.link.bufferedByteCount, 0)
})

t.test('a client that proves nothing is refused by TLS, and the log says why', async (t) => {
  const stage = await listen(t)
  const expired = await issueClientCertificate(authority, 'late', lastWeek)
  const foreign = await issueClientCertificate(stranger, 'barn-7')
  const nameless = await issueClientCertificate(authority, '')
  const notForClients = await issueServerCertificate(authority, ['barn-7'])
  const cases: [IssuedCertificate | undefined, string][] = [
    [undefined, 'no client certificate'],
    [foreign, 'its certificate is not signed by a CA that is trusted here'],
    [expired, 'certificate has expired'],
    [notForClients, 'certificate is made for another purpose'],
    [nameless, 'the client certificate has no common name'],
  ]
  let refusedCount = 0
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    for (const [certificate, reason] of cases) {
      const client = connectClient(t, stage, certificate, { maxVersion })
      await once(client, 'connect')
      const remote = `127.0.0.1:${client.localPort}`
      await closed(client)
      await stage.log.until('client refused', ++refusedCount)
      t.strictSame(stage.log.fieldsOf('client refused').at(-1), { name: 'tls test', remote, reason }, reason)
    }
  }
  t.equal(stage.acceptor.owners.length, 0)
  t.equal(stage.listener.linkCount, 0)
})

t.test('what is not TLS, or too old, is refused', async (t) => {
  const stage = await listen(t)
  const plain = connect(stage.listener.address)
  plain.on('error', () => {})
  plain.write('GET / HTTP/1.1\r\n\r\n')
  await closed(plain)
  const old = connectClient(t, stage, barn, {
    minVersion: 'TLSv1.1',
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT@SECLEVEL=0',
  })
  await closed(old)
  await stage.log.until('client refused', 2)
  const reasons = stage.log.fieldsOf('client refused').map(({ reason }) => reason)
  t.strictSame(reasons, ['the peer speaks HTTP without TLS', 'the peer speaks no TLS version from 1.2 on'])
})

t.test('a handshake that is not over in time is cut off, whether its bytes come slowly or not at all', async (t) => {
  const stage = await listen(t, { handshakeTimeoutMs: 300 })
  const inTime = connectClient(t, stage, barn)
  await stage.acceptor.next()
  const startedAtMs = performance.now()
  const silent = connect(stage.listener.address)
  const slow = connect(stage.listener.address)
  slow.on('error', () => {})
  // The header of a record of 512 bytes, then one byte after the other.
  slow.write(Buffer.from('1603010200', 'hex'))
  const drip = setInterval(() => slow.write(Buffer.of(1)), 50)
  await Promise.all([closed(silent), closed(slow)])
  clearInterval(drip)
  t.ok(performance.now() - startedAtMs >= 290, 'not before its time')
  await stage.log.until('client refused', 2)
  for (const { reason } of stage.log.fieldsOf('client refused')) t.equal(reason, 'the TLS handshake took too long')
  t.notOk(inTime.destroyed, 'and only that')
})

t.test('a peer that is refused again and again does not fill the log', async (t) => {
  const stage = await listen(t)
  for (let i = 0; i < 25; i++) await closed(connectClient(t, stage))
  t.equal(stage.log.fieldsOf('client refused').length, 10)
})

t.test('without required certificates nobody has an identity', async (t) => {
  const stage = await listen(t, { traits: { ...traits, requireIdentity: false } })
  connectClient(t, stage)
  t.equal((await stage.acceptor.next()).link.identity, undefined)
  connectClient(t, stage, barn)
  t.equal((await stage.acceptor.next()).link.identity, undefined)
})

t.test('closing a listener cuts handshakes that are under way', async (t) => {
  const stage = await listen(t)
  const silent = connect(stage.listener.address)
  silent.on('error', () => {})
  const link = connectClient(t, stage, barn)
  const owner = await stage.acceptor.next()
  await stage.listener.close()
  await closed(silent)
  owner.send('still open')
  t.equal((await once(link, 'data'))[0].toString(), 'still open')
})

t.test('a reload changes new handshakes only, and a bad one changes nothing', async (t) => {
  const stage = await listen(t)
  connectClient(t, stage, barn)
  const before = await stage.acceptor.next()

  const next = await issueServerCertificate(stranger, ['localhost', '127.0.0.1'])
  stage.listener.reload(stage.files.server(next, stranger))
  const foreign = await issueClientCertificate(stranger, 'barn-9')
  connectClient(t, stage, foreign, { ca: stranger.certificate })
  t.equal((await stage.acceptor.next()).link.identity, 'barn-9')
  const old = connectClient(t, stage, barn, { ca: stranger.certificate })
  await closed(old)
  t.notOk(before.isClosed)

  const missing = { ...stage.files.server(), certificate: stage.files.path('none.crt') }
  t.throws(() => stage.listener.reload(missing), { code: 'ERR_CERTIFICATE' })
  connectClient(t, stage, foreign, { ca: stranger.certificate })
  t.equal((await stage.acceptor.next()).link.identity, 'barn-9')
})

t.test('certificates that cannot be used are failures that name setting and path', async (t) => {
  const files = new Files(t)
  const good = files.server()
  const other = files.pair('other', barn)
  const garbage = files.write('garbage', 'nothing')
  const none = files.path('none')
  const cases: [Partial<TlsFiles>, string][] = [
    [{ certificate: none }, `certificate = "${none}": no such file or directory`],
    [{ privateKey: none }, `private_key = "${none}": no such file or directory`],
    [{ ca: none }, `ca = "${none}": no such file or directory`],
    [{ certificate: garbage }, `certificate = "${garbage}": holds no certificate in PEM form`],
    [{ ca: garbage }, `ca = "${garbage}": holds no certificate in PEM form`],
    [{ privateKey: garbage }, `private_key = "${garbage}": holds no private key in PEM form`],
    [{ privateKey: other.privateKey }, `private_key = "${other.privateKey}": does not belong to certificate = `],
    [{ ca: undefined }, 'ca is not set'],
  ]
  for (const [change, detail] of cases) {
    const settings = { bind: loopback, files: { ...good, ...change } }
    const failure = await listenTls(settings, new RecordingAcceptor(), traits, new RecordingLog()).catch((e) => e)
    t.equal(failure.code, 'ERR_CERTIFICATE')
    t.ok(failure.detail.startsWith(detail), failure.detail)
  }
})

t.test('a dialled TLS link carries bytes both ways, by name or by IP address', async (t) => {
  const stage = await listen(t)
  for (const serverName of ['localhost', '127.0.0.1']) {
    const owner = await dialLink(dialer(stage, { serverName }))
    const accepted = await stage.acceptor.next()
    t.equal(accepted.link.identity, 'barn-7')
    t.equal(owner.link.identity, undefined)
    accepted.onChunk = (chunk) => accepted.link.send([Buffer.from(chunk)])
    owner.send('ping')
    await owner.until(() => owner.received.toString() === 'ping')
    owner.call((link) => link.end())
    t.equal(await owner.untilClosed(), undefined)
    t.equal(await accepted.untilClosed(), undefined)
  }
  t.equal(dialer(stage).address, `tls://127.0.0.1:${stage.listener.address.port}`)
})

t.test('a server that is not the one meant is a failure with the reason', async (t) => {
  const stage = await listen(t)
  const wrongCa = dialer(stage, { ca: stage.files.write('stranger.crt', stranger.certificate) })
  const wrongName = dialer(stage, { serverName: 'cloud.example' })
  t.match(await dialOnce(wrongCa), {
    code: 'ERR_DIAL',
    detail: `${wrongCa.address}: its certificate is not signed by a CA that is trusted here`,
  })
  t.match(await dialOnce(wrongName), { code: 'ERR_DIAL', detail: /cloud\.example.*localhost/ })
  t.equal(stage.acceptor.owners.filter((owner) => owner.chunks.length > 0).length, 0)
})

t.test('a server whose certificate has expired is a failure with the reason', async (t) => {
  const stage = await listen(t, { server: await issueServerCertificate(authority, ['localhost'], lastWeek) })
  const late = dialer(stage)
  t.match(await dialOnce(late), { code: 'ERR_DIAL', detail: `${late.address}: certificate has expired` })
})

t.test('a certificate that the server does not want closes the link with the reason', async (t) => {
  const stage = await listen(t)
  const owner = await dialLink(dialer(stage, { client: undefined }))
  const failure = await owner.untilClosed()
  t.match(failure, { code: 'ERR_LINK_CLOSED', detail: /the peer wants a client certificate$/ })
})

t.test('a server that does not speak TLS is a failure with the reason', async (t) => {
  const stage = await listen(t)
  const address = await rawServer(t, (socket) => socket.end('220 mail.example ready\r\n'))
  const failure = await dialOnce(dialer(stage, { address }))
  t.match(failure, { code: 'ERR_DIAL', detail: /the peer does not speak TLS$/ })
  const hangsUp = await rawServer(t, (socket) => socket.destroy())
  t.match(await dialOnce(dialer(stage, { address: hangsUp })), { code: 'ERR_DIAL' })
})

t.test('a server that accepts and says nothing is given up after the time limit', async (t) => {
  const stage = await listen(t)
  const sockets = new EventEmitter()
  const address = await rawServer(t, (socket) => sockets.emit('socket', socket))
  const end = once(sockets, 'socket').then(([socket]) => closed(socket))
  const silent = dialer(stage, { address, timeoutMs: 200 })
  const failure = await dialOnce(silent)
  t.match(failure, { code: 'ERR_DIAL', detail: `${silent.address}: no answer within 0.2 s` })
  await end
})

t.test('an attempt that is aborted in its handshake ends the connection and says nothing', async (t) => {
  const stage = await listen(t)
  const sockets = new EventEmitter()
  const address = await rawServer(t, (socket) => sockets.emit('socket', socket))
  const accepted = once(sockets, 'socket')
  const dial = dialer(stage, { address, timeoutMs: 60_000 }).dial({
    onConnected: () => t.bailout('connected after abort') as never,
    onFailed: () => t.fail('failed after abort'),
  })
  const [socket] = await accepted
  await once(socket, 'data')
  dial.abort()
  socket.on('error', () => {})
  await closed(socket)
  t.pass()
})

t.test('certificates are read for each attempt', async (t) => {
  const stage = await listen(t)
  const renewed = dialer(stage)
  const { certificate } = stage.files.pair('barn-7', await issueClientCertificate(authority, 'barn-8'))
  await dialLink(renewed)
  t.equal((await stage.acceptor.next()).link.identity, 'barn-8')

  copyFileSync(certificate, `${certificate}.away`)
  rmSync(certificate)
  let isInDial = true
  const ended = new Promise<Failure>((resolve) => {
    renewed.dial({
      onConnected: () => t.bailout('connected without a certificate') as never,
      onFailed(failure) {
        t.notOk(isInDial)
        resolve(failure)
      },
    })
  })
  isInDial = false
  t.match(await ended, { code: 'ERR_CERTIFICATE', detail: /^certificate = .*barn-7\.crt": no such file/ })
  t.throws(() => dialer(stage, { client: { certificate, privateKey: certificate } }), { code: 'ERR_CERTIFICATE' })
})

t.test('plain TCP and TLS do not meet', async (t) => {
  const acceptor = new RecordingAcceptor()
  const plain = await listenTcp({ bind: loopback }, acceptor, { ...traits, requireIdentity: false }, new RecordingLog())
  t.teardown(() => plain.close())
  const stage = await listen(t)
  const silent = dialer(stage, { address: plain.address, timeoutMs: 200 })
  t.match(await dialOnce(silent), { code: 'ERR_DIAL' })
  const owner = await dialLink(createTcpDialer({ address: stage.listener.address, timeoutMs: 5000 }))
  owner.send('\x10\x0c\x00\x04MQTT')
  await owner.untilClosed()
  for (const accepted of acceptor.owners) await accepted.untilClosed()
})

t.test('the second handshake to the same peer resumes the TLS 1.3 session of the first', async (t) => {
  const reused: [resumed: boolean, protocol: string | null][] = []
  const files = new Files(t)
  const tls = createTlsServer({
    cert: server.certificate,
    key: server.privateKey,
    ca: authority.certificate,
    requestCert: true,
    rejectUnauthorized: true,
  })
  tls.on('secureConnection', (socket) => {
    reused.push([socket.isSessionReused(), socket.getProtocol()])
    socket.on('error', () => {})
    socket.write('x')
  })
  tls.listen(loopback)
  t.teardown(() => tls.close())
  await once(tls, 'listening')
  const client = files.pair('barn-7', barn)
  const settings = {
    address: { host: '127.0.0.1', port: (tls.address() as AddressInfo).port },
    timeoutMs: 5000,
    ca: files.write('ca.crt', authority.certificate),
    client,
    serverName: 'localhost',
  }
  const resuming = createTlsDialer(settings)
  const visit = async () => {
    const owner = await dialLink(resuming)
    await owner.until(() => owner.received.length > 0)
    owner.call((link) => link.destroy())
    await owner.until(() => owner.isClosed)
  }
  await visit()
  await visit()
  t.strictSame(reused, [
    [false, 'TLSv1.3'],
    [true, 'TLSv1.3'],
  ])
  // Another certificate is another identity: nothing of the old session may speak for it.
  files.pair('barn-7', await issueClientCertificate(authority, 'barn-7'))
  await visit()
  t.strictSame(reused[2], [false, 'TLSv1.3'])
})

t.test('a resumed session proves the same identity', async (t) => {
  const stage = await listen(t)
  const resuming = dialer(stage)
  for (let visits = 0; visits < 2; visits++) {
    const owner = await dialLink(resuming)
    const accepted = await stage.acceptor.next()
    t.equal(accepted.link.identity, 'barn-7')
    accepted.send('x')
    await owner.until(() => owner.received.length > 0)
    owner.call((link) => link.destroy())
    await owner.until(() => owner.isClosed)
  }
})

t.test('a WebSocket on top of TLS is a link like any other, on the way out too', async (t) => {
  const files = new Files(t)
  const acceptor = new RecordingAcceptor()
  const openLink = webSocketLinks({ path: '/mqtt', packetBytesMax: 100_000, sameHostOnly: false })
  const settings = { bind: loopback, files: files.server(), openLink }
  const listener = await listenTls(settings, acceptor, traits, new RecordingLog())
  t.teardown(() => listener.close())
  const wss = (path: string) => {
    const webSocket = webSocketClient({ scheme: 'wss', address: listener.address, path, packetBytesMax: 100_000 })
    return createTlsDialer({
      address: listener.address,
      timeoutMs: 5000,
      ca: files.path('ca.crt'),
      client: files.pair('barn-7', barn),
      serverName: 'localhost',
      webSocket,
    })
  }
  const way = wss('/mqtt')
  t.match(way.address, /^wss:/)
  const owner = await dialLink(way)
  const accepted = await acceptor.next()
  t.equal(accepted.link.identity, 'barn-7')
  owner.send('up', 'stairs')
  accepted.send('down')
  await accepted.until(() => accepted.received.toString() === 'upstairs')
  await owner.until(() => owner.received.toString() === 'down')
  owner.call((link) => link.end())
  await owner.until(() => owner.isClosed)
  await accepted.until(() => accepted.isClosed)
  const refused = await dialOnce(wss('/elsewhere'))
  t.match(refused, { code: 'ERR_DIAL', detail: /404/ })
})
