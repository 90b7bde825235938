import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, SocketAddress } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { createAuthority, issueServerCertificate } from '../../src/adapters/certificates/authority.ts'
import type { ListenerOptions } from '../../src/adapters/net/listener.ts'
import { parseProxyHeader } from '../../src/adapters/net/proxy-protocol.ts'
import { listenTcp } from '../../src/adapters/net/tcp.ts'
import { listenTls } from '../../src/adapters/net/tls.ts'
import { listenUnix } from '../../src/adapters/net/unix.ts'
import { webSocketLinks } from '../../src/adapters/net/web-socket.ts'
import type { ListenerTraits } from '../../src/ports/transport.ts'
import { RecordingLog } from '../fakes/recording-log.ts'
import { RecordingAcceptor } from '../fakes/recording-owner.ts'

const signature = '0d0a0d0a000d0a515549540a'
const tcp4 = `${signature}2111000cc0000201c6336401c000075b`
const tcp6 = `${signature}21210024${'20010db8000000000000000000000001'.repeat(2)}c00022b3`

function hex(digits: string): Buffer {
  return Buffer.from(digits, 'hex')
}

/** Byte for byte from the text of the PROXY protocol, version 1 and 2. */
const headers: [title: string, header: Buffer, host: string | undefined, port?: number][] = [
  ['IPv4 in text', Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.1 49152 1883\r\n'), '192.0.2.1', 49_152],
  ['IPv6 in text', Buffer.from('PROXY TCP6 2001:db8::1 ::1 65535 0\r\n'), '2001:db8::1', 65_535],
  ['unknown in text', Buffer.from('PROXY UNKNOWN\r\n'), undefined],
  ['unknown with more in text', Buffer.from('PROXY UNKNOWN ffff::1 whatever\r\n'), undefined],
  ['IPv4 in binary', hex(tcp4), '192.0.2.1', 49_152],
  ['IPv4 in binary with more behind', hex(tcp4.replace('000cc0', '0010c0').concat('04000100')), '192.0.2.1', 49_152],
  ['IPv6 in binary', hex(tcp6), '2001:db8::1', 49_152],
  ['the proxy itself in binary', hex(`${signature}20000000`), undefined],
  ['an unknown family in binary', hex(`${signature}21000000`), undefined],
  ['a unix socket in binary', hex(`${signature}213100d8${'00'.repeat(216)}`), undefined],
]

t.test('a header tells the source and its own length, complete or not', (t) => {
  for (const [title, header, host, port] of headers) {
    const source = host === undefined ? undefined : { host, port }
    for (const behind of ['', 'PROXY TCP4 and more\r\n']) {
      const bytes = Buffer.concat([header, Buffer.from(behind)])
      t.strictSame(parseProxyHeader(bytes), { byteCount: header.length, source }, title)
    }
    for (let length = 0; length < header.length; length++) {
      t.equal(parseProxyHeader(header.subarray(0, length)), undefined, `${title}: ${length} bytes`)
    }
  }
  t.end()
})

t.test('anything else is refused with the reason', (t) => {
  const line = 'malformed PROXY protocol line'
  const cases: [bytes: Buffer | string, reason: string][] = [
    [hex('100c'), 'no PROXY protocol header'],
    ['PROXZ', 'no PROXY protocol header'],
    [hex('0d0a0d0a00ff'), 'no PROXY protocol header'],
    ['PROXY TCP4 192.0.2.1 198.51.100.1 49152\r\n', line],
    ['PROXY TCP4 192.0.2.1 198.51.100.1 49152 1883 1\r\n', line],
    ['PROXY TCP4 192.0.2.1 198.51.100.1 65536 1883\r\n', line],
    ['PROXY TCP4 192.0.2.1 198.51.100.1 007 1883\r\n', line],
    ['PROXY TCP4 192.0.2.256 198.51.100.1 1 1883\r\n', line],
    ['PROXY TCP4 ::1 ::1 1 1883\r\n', line],
    ['PROXY TCP6 192.0.2.1 ::1 1 1883\r\n', line],
    ['PROXY UNIX 192.0.2.1 ::1 1 1883\r\n', line],
    ['PROXY \r\n', line],
    [`PROXY UNKNOWN ${'x'.repeat(92)}\r\n`, 'PROXY protocol line without end'],
    [hex(`${signature}31000000`), 'unknown PROXY protocol version or command'],
    [hex(`${signature}22000000`), 'unknown PROXY protocol version or command'],
    [hex(`${signature}21111001`), 'PROXY protocol header too long'],
    [hex(`${signature}2111000b${'00'.repeat(11)}`), 'PROXY protocol header too short'],
    [hex(`${signature}21210023${'00'.repeat(35)}`), 'PROXY protocol header too short'],
  ]
  for (const [bytes, reason] of cases) t.equal(parseProxyHeader(Buffer.from(bytes)), reason, String(bytes))
  t.end()
})

t.test('every address survives, in text and in binary', (t) => {
  const address = fc.oneof(
    fc.record({ host: fc.ipV4(), port: fc.nat(65_535) }),
    fc.record({ host: fc.ipV6(), port: fc.nat(65_535) }),
  )
  fc.assert(
    fc.property(address, ({ host, port }) => {
      const isV6 = host.includes(':')
      const line = `PROXY ${isV6 ? 'TCP6' : 'TCP4'} ${host} ${host} ${port} ${port}\r\n`
      t.same(parseProxyHeader(Buffer.from(line)), { byteCount: line.length, source: { host, port } })

      const canonical = new SocketAddress({ address: host, family: isV6 ? 'ipv6' : 'ipv4' }).address
      const ports = Buffer.alloc(4)
      ports.writeUInt16BE(port)
      const hosts = isV6 ? Buffer.from(groupsOf(host)) : Buffer.from(host.split('.').map(Number))
      const body = Buffer.concat([hosts, hosts, ports])
      const head = hex(`${signature}21${isV6 ? '21' : '11'}00${body.length.toString(16).padStart(2, '0')}`)
      const parsed = parseProxyHeader(Buffer.concat([head, body]))
      const found = typeof parsed === 'object' ? parsed.source : undefined
      const same = new SocketAddress({ address: found?.host ?? '', family: isV6 ? 'ipv6' : 'ipv4' }).address
      t.strictSame([same, found?.port], [canonical, port])
    }),
    { numRuns: 50 },
  )
  t.end()
})

t.test('no bytes are an exception or a header longer than they are', (t) => {
  const start = fc.constantFrom(hex(signature), hex(`${signature}2111`), Buffer.from('PROXY TCP4 '), Buffer.alloc(0))
  fc.assert(
    fc.property(start, fc.uint8Array({ maxLength: 200 }), (start, rest) => {
      const bytes = Buffer.concat([start, rest])
      const parsed = parseProxyHeader(bytes)
      return typeof parsed !== 'object' || parsed.byteCount <= bytes.length
    }),
    { numRuns: 1000 },
  )
  t.end()
})

const traits: ListenerTraits = {
  name: 'proxied',
  mountpoint: undefined,
  requireIdentity: false,
  allowAnonymous: true,
  acceptsGateways: false,
}
const bind = { host: '127.0.0.1', port: 0 }

async function listen(t: Test, options: ListenerOptions = {}) {
  const [acceptor, log] = [new RecordingAcceptor(), new RecordingLog()]
  const listener = await listenTcp({ bind, isProxied: true, ...options }, acceptor, traits, log)
  t.teardown(() => {
    for (const owner of acceptor.owners) owner.link.destroy()
    return listener.close()
  })
  return { acceptor, log, listener }
}

t.test('behind a proxy the link shows the client, and its bytes are whole', async (t) => {
  const { acceptor, listener } = await listen(t)
  for (const [title, header, host, port] of headers) {
    const client = connect(listener.address)
    client.write(Buffer.concat([header, Buffer.from('first')]))
    const owner = await acceptor.next()
    await owner.until(() => owner.received.toString() === 'first')
    client.write(' second')
    await owner.until(() => owner.received.toString() === 'first second')
    const remote = host === undefined ? `127.0.0.1:${client.localPort}` : new RegExp(`${host}]?:${port}$`)
    t.match(owner.link.remote, remote, title)
    client.destroy()
    await owner.untilClosed()
  }
  t.equal(listener.linkCount, 0)
})

t.test('a header may come byte by byte', async (t) => {
  const { acceptor, listener } = await listen(t)
  const client = connect({ ...listener.address, noDelay: true })
  for (const byte of Buffer.concat([hex(tcp4), Buffer.from('x')])) {
    await new Promise((resolve) => client.write(Buffer.of(byte), resolve))
  }
  const owner = await acceptor.next()
  await owner.until(() => owner.received.toString() === 'x')
  t.equal(owner.link.remote, '192.0.2.1:49152')
  client.destroy()
})

t.test('a link that is paused while it is accepted stays so', async (t) => {
  const { acceptor, listener } = await listen(t)
  acceptor.onAccept = (owner) => owner.link.pause()
  const client = connect(listener.address)
  client.write(Buffer.concat([hex(tcp4), Buffer.from('early')]))
  const owner = await acceptor.next()
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
  t.equal(owner.chunks.length, 0)
  owner.link.resume()
  await owner.until(() => owner.received.toString() === 'early')
  client.destroy()
})

t.test('who comes without a header is refused, and who leaves before it is nobody', async (t) => {
  const { acceptor, listener, log } = await listen(t)
  const direct = connect(listener.address)
  direct.write(hex('101000044d51545404020000000461626364'))
  await once(direct, 'close')
  t.match(log.fieldsOf('client refused'), [{ reason: 'no PROXY protocol header', remote: /^127\.0\.0\.1:/ }])
  const probe = connect(listener.address)
  await once(probe, 'connect')
  probe.end()
  await once(probe, 'close')
  const silent = connect(listener.address)
  await once(silent, 'connect')
  const late = connect(listener.address)
  late.write(Buffer.concat([hex(tcp4), Buffer.from('x')]))
  await acceptor.next()
  await listener.close()
  await once(silent, 'close')
  t.equal(acceptor.owners.length, 1)
  t.equal(log.fieldsOf('client refused').length, 1)
})

t.test('a header stands before TLS, before WebSocket and on a unix socket alike', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'net-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const issued = await issueServerCertificate(await createAuthority(), ['localhost'])
  const files = { certificate: join(folder, 'crt'), privateKey: join(folder, 'key'), ca: undefined }
  writeFileSync(files.certificate, issued.certificate)
  writeFileSync(files.privateKey, issued.privateKey)
  const [acceptor, log] = [new RecordingAcceptor(), new RecordingLog()]
  const tls = await listenTls({ bind, files, isProxied: true }, acceptor, traits, log)
  const path = join(folder, 'socket')
  const unix = await listenUnix({ path, isProxied: true }, acceptor, traits, log)
  const ws = await listen(t, { openLink: webSocketLinks({ path: '/mqtt', packetBytesMax: 1000, sameHostOnly: false }) })

  for (const turnCount of [0, 20]) {
    const raw = connect(tls.address)
    raw.write(hex(tcp4))
    await once(raw, 'connect')
    for (let turn = 0; turn < turnCount; turn++) await new Promise((resolve) => setImmediate(resolve))
    const secure = connectTls({ socket: raw, rejectUnauthorized: false })
    secure.write('over TLS')
    const owner = await acceptor.next()
    await owner.until(() => owner.received.toString() === 'over TLS')
    t.equal(owner.link.remote, '192.0.2.1:49152')
    secure.destroy()
  }

  const garbage = connect(tls.address)
  garbage.write(Buffer.concat([hex(tcp6), Buffer.from('no TLS at all')]))
  await log.until('client refused', 1)
  t.match(log.fieldsOf('client refused'), [{ remote: '[2001:db8::1]:49152', reason: 'the peer does not speak TLS' }])

  const local = connect(path)
  local.write(Buffer.concat([hex(tcp6), Buffer.from('local')]))
  const second = await acceptor.next()
  await second.until(() => second.received.toString() === 'local')
  t.equal(second.link.remote, '[2001:db8::1]:49152')

  const url = `ws://127.0.0.1:${ws.listener.address.port}/mqtt`
  const web = new WebSocket(url, ['mqtt'], {
    createConnection: () => {
      const socket = connect(ws.listener.address)
      socket.write(hex(tcp4))
      return socket
    },
  })
  await once(web, 'open')
  web.send(Buffer.from('web'))
  const third = await ws.acceptor.next()
  await third.until(() => third.received.toString() === 'web')
  t.equal(third.link.remote, '192.0.2.1:49152')

  for (const client of [local, garbage]) client.destroy()
  web.terminate()
  await Promise.all([tls.close(), unix.close()])
})

/** The sixteen bytes of an IPv6 address as people write it. */
function groupsOf(host: string): number[] {
  const expand = (part: string) =>
    part === ''
      ? []
      : part.split(':').flatMap((group) => {
          if (group.includes('.')) return group.split('.').map(Number)
          const value = Number.parseInt(group, 16)
          return [value >> 8, value & 255]
        })
  const [left = '', right] = host.split('::')
  const [head, tail] = [expand(left), expand(right ?? '')]
  return [...head, ...Array<number>(16 - head.length - tail.length).fill(0), ...tail]
}
