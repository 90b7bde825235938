/** What a listener refuses by its limits: counted, logged, and without harm to those who are in. */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import t, { type Test } from 'tap'
import { createAuthority, issueServerCertificate } from '../../src/adapters/certificates/authority.ts'
import { ConnectRate } from '../../src/adapters/net/connect-rate.ts'
import type { ListenerOptions, NetListener } from '../../src/adapters/net/listener.ts'
import { listenTcp } from '../../src/adapters/net/tcp.ts'
import { listenTls } from '../../src/adapters/net/tls.ts'
import type { ListenerTraits } from '../../src/ports/transport.ts'
import { RecordingLog } from '../fakes/recording-log.ts'
import { RecordingAcceptor } from '../fakes/recording-owner.ts'

const loopback = { host: '127.0.0.1', port: 0 }
const traits: ListenerTraits = {
  name: 'tcp test',
  mountpoint: undefined,
  requireIdentity: false,
  allowAnonymous: true,
  acceptsGateways: false,
}

async function listen(t: Test, options: ListenerOptions) {
  const acceptor = new RecordingAcceptor()
  const log = new RecordingLog()
  const listener = await listenTcp({ bind: loopback, ...options }, acceptor, traits, log)
  t.teardown(() => {
    for (const owner of acceptor.owners) owner.link.destroy()
    return listener.close()
  })
  return { listener, acceptor, log }
}

function enter(t: Test, listener: NetListener): Socket {
  const socket = connect(listener.address)
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket.resume()
}

t.test('over connection_count_max new clients are refused until somebody leaves', async (t) => {
  const { listener, acceptor, log } = await listen(t, { connectionCountMax: 2 })
  const [first] = [enter(t, listener), enter(t, listener)]
  await acceptor.next()
  const second = await acceptor.next()
  const third = enter(t, listener)
  await once(third, 'close')
  await log.until('client refused', 1)
  t.match(log.fieldsOf('client refused')[0], {
    remote: /^127\.0\.0\.1:\d+$/,
    reason: 'more than connection_count_max = 2 connections',
  })
  t.equal(acceptor.refusedCount, 1)
  t.equal(listener.linkCount, 2)
  first?.destroy()
  await acceptor.owners[0]?.untilClosed()
  const fourth = enter(t, listener)
  const owner = await acceptor.next()
  owner.send('hello')
  t.equal(String((await once(fourth, 'data'))[0]), 'hello')
  t.notOk(second.isClosed)
})

t.test('over connects_per_second_max new clients are refused, and the log stays short', async (t) => {
  const { listener, acceptor, log } = await listen(t, { connectsPerSecondMax: 5 })
  const sockets = Array.from({ length: 40 }, () => enter(t, listener))
  await Promise.all(sockets.slice(0, 5).map((socket) => once(socket, 'connect')))
  await acceptor.until(() => acceptor.refusedCount >= 30)
  t.ok(acceptor.owners.length >= 5 && acceptor.owners.length <= 10, 'those of a second get in')
  t.equal(log.fieldsOf('client refused').length, 10)
  t.match(log.fieldsOf('client refused')[0], { reason: /connects_per_second_max = 5/ })
})

t.test('the connect rate spares the handshake of TLS, and does not harm it', async (t) => {
  const authority = await createAuthority()
  const issued = await issueServerCertificate(authority, ['127.0.0.1'])
  const folder = t.testdir({})
  const write = (name: string, pem: string) => {
    writeFileSync(join(folder, name), pem)
    return join(folder, name)
  }
  const files = {
    certificate: write('server.crt', issued.certificate),
    privateKey: write('server.key', issued.privateKey),
    ca: undefined,
  }
  const acceptor = new RecordingAcceptor()
  const log = new RecordingLog()
  const settings = { bind: loopback, files, connectsPerSecondMax: 1 }
  const listener = await listenTls(settings, acceptor, traits, log)
  t.teardown(() => listener.close())
  const admitted = connectTls({ ...listener.address, ca: authority.certificate, host: '127.0.0.1' })
  await once(admitted, 'secureConnect')
  const owner = await acceptor.next()
  owner.send('hello')
  t.equal(String((await once(admitted, 'data'))[0]), 'hello')
  const refused = connect(listener.address).on('error', () => {})
  await once(refused.resume(), 'close')
  t.match(log.fieldsOf('client refused'), [{ reason: /connects_per_second_max = 1/ }])
  admitted.destroy()
  await owner.untilClosed()
})

t.test('a connect rate holds one second and fills evenly', (t) => {
  const rate = new ConnectRate(4)
  const taken = (nowMs: number, count: number) => Array.from({ length: count }, () => rate.take(nowMs)).filter(Boolean)
  t.equal(taken(0, 10).length, 4)
  t.equal(taken(249, 3).length, 0)
  t.equal(taken(500, 3).length, 2)
  t.equal(taken(60_000, 10).length, 4, 'never more than those of a second')
  t.end()
})
