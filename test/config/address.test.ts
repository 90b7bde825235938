import t from 'tap'
import {
  formatBind,
  formatHostAndPort,
  isLocal,
  isLoopback,
  parseAddress,
  parseBind,
  parseHostAndPort,
} from '../../src/config/address.ts'

t.test('host and port are read as people write them', (t) => {
  t.strictSame(parseHostAndPort('127.0.0.1:1883'), { host: '127.0.0.1', port: 1883 })
  t.strictSame(parseHostAndPort('[::1]:0'), { host: '::1', port: 0 })
  t.strictSame(parseHostAndPort('gateway.example:65535'), { host: 'gateway.example', port: 65_535 })
  for (const text of ['', '1883', ':1883', 'h:', 'h:65536', 'h:-1', '::1:1883', 'a b:1', '[h]:1', 'h:1/x']) {
    t.equal(parseHostAndPort(text), undefined, text)
  }
  t.end()
})

t.test('host and port read back as they are written', (t) => {
  for (const text of ['127.0.0.1:1883', '[2001:db8::1]:8883', 'h:1']) {
    const parsed = parseHostAndPort(text)
    t.equal(parsed && formatHostAndPort(parsed), text)
  }
  t.end()
})

t.test('a listener is at host and port or at a path', (t) => {
  t.strictSame(parseBind('[::1]:1883'), { host: '::1', port: 1883 })
  t.strictSame(parseBind('unix:/run/a b.sock'), { path: '/run/a b.sock' })
  for (const text of ['unix:', 'unix', '/run/x.sock', 'unix:a\0b']) {
    t.equal(parseBind(text), undefined, text)
  }
  for (const text of ['127.0.0.1:1', 'unix:run/x.sock']) {
    const parsed = parseBind(text)
    t.equal(parsed && formatBind(parsed), text)
    t.ok(parsed && isLocal(parsed))
  }
  t.end()
})

t.test('an address names its scheme', (t) => {
  t.strictSame(parseAddress('tls://h:8883'), { scheme: 'tls', host: 'h', port: 8883, path: '/mqtt' })
  t.strictSame(parseAddress('tcp://[::1]:1'), { scheme: 'tcp', host: '::1', port: 1, path: '/mqtt' })
  t.strictSame(parseAddress('wss://h:443/a/b'), { scheme: 'wss', host: 'h', port: 443, path: '/a/b' })
  t.strictSame(parseAddress('ws://h:80'), { scheme: 'ws', host: 'h', port: 80, path: '/mqtt' })
  for (const text of ['h:1883', 'mqtt://h:1883', 'tls://', 'tls://h', 'tcp://h:0', 'tls://h:1/mqtt', 'ws://h/mqtt'])
    t.equal(parseAddress(text), undefined, text)
  t.end()
})

t.test('loopback is this machine only', (t) => {
  for (const host of ['127.0.0.1', '127.255.0.9', '::1', 'localhost']) t.ok(isLoopback(host), host)
  for (const host of ['0.0.0.0', '::', '128.0.0.1', '127.0.0.1.example', 'localhost.example'])
    t.notOk(isLoopback(host), host)
  t.end()
})
