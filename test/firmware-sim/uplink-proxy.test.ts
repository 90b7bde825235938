import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { ProxyProcess } from '../../firmware-sim/proxy-process.ts'
import { SeededRandom } from '../../firmware-sim/seeded-random.ts'
import { UplinkProxy } from '../../firmware-sim/uplink-proxy.ts'

/** One end of a proxied connection, with everything that came out of it. */
class End {
  readonly socket: Socket
  #received: Buffer[] = []
  #receivedByteCount = 0
  hasEnded = false
  isClosed = false
  errorCode: string | undefined

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#received.push(chunk)
      this.#receivedByteCount += chunk.length
    })
    socket.on('end', () => {
      this.hasEnded = true
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.errorCode = error.code
    })
    socket.on('close', () => {
      this.isClosed = true
    })
  }

  get received(): Buffer {
    return Buffer.concat(this.#received)
  }

  get text(): string {
    return this.received.toString()
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await setTimeout(1)
  }

  untilBytes(count: number): Promise<void> {
    return this.until(() => this.#receivedByteCount >= count)
  }
}

async function stage(t: Test) {
  const accepted: End[] = []
  const server = createServer({ allowHalfOpen: true }, (socket) => accepted.push(new End(socket)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const proxy = new UplinkProxy({ target: { host: '127.0.0.1', port }, random: new SeededRandom(7) })
  const proxyPort = await proxy.listen()
  const clients: End[] = []
  t.teardown(async () => {
    for (const { socket } of [...clients, ...accepted]) socket.destroy()
    await proxy.close()
    server.close()
  })

  function dial(): End {
    const client = new End(connect({ port: proxyPort, host: '127.0.0.1', allowHalfOpen: true }))
    clients.push(client)
    return client
  }

  async function pair(): Promise<{ client: End; target: End }> {
    const count = accepted.length
    const client = dial()
    await client.until(() => accepted.length > count)
    return { client, target: accepted[count] as End }
  }

  return { proxy, accepted, dial, pair, server }
}

function sha(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

t.test('a fair line passes bytes, ends and resets', async (t) => {
  const { proxy, pair } = await stage(t)
  const { client, target } = await pair()
  client.socket.write('up')
  target.socket.write('down')
  await target.untilBytes(2)
  await client.untilBytes(4)
  client.socket.end('last')
  await target.until(() => target.hasEnded)
  t.equal(target.text, 'uplast')
  target.socket.write(' words')
  await client.untilBytes(10)
  target.socket.end()
  await client.until(() => client.isClosed)
  await target.until(() => target.isClosed)
  t.equal(client.errorCode, undefined)
  t.equal(target.errorCode, undefined)

  const other = await pair()
  other.client.socket.resetAndDestroy()
  await other.target.until(() => other.target.isClosed)
  t.equal(other.target.errorCode, 'ECONNRESET')
  t.equal(proxy.acceptedCount, 2)
})

t.test('a reader that is slow slows the writer down, and nothing is lost', async (t) => {
  const { pair } = await stage(t)
  const { client, target } = await pair()
  target.socket.pause()
  const bytes = randomBytes(32 * 1024 * 1024)
  client.socket.write(bytes)
  await setTimeout(100)
  t.ok(client.socket.writableLength > 8 * 1024 * 1024, 'the proxy does not swallow everything')
  target.socket.resume()
  await target.untilBytes(bytes.length)
  t.equal(sha(target.received), sha(bytes))
})

t.test('a target that is not there resets the client', async (t) => {
  const { dial, server } = await stage(t)
  server.close()
  await once(server, 'close')
  const client = dial()
  await client.until(() => client.isClosed)
  t.equal(client.errorCode, 'ECONNRESET')
})

t.test('in a black hole nobody hears anything, and the connection stays dead afterwards', async (t) => {
  const { proxy, accepted, pair, dial } = await stage(t)
  const { client, target } = await pair()
  client.socket.write('before')
  await target.untilBytes(6)
  proxy.setFault({ kind: 'blackhole' })
  client.socket.write('lost')
  target.socket.write('lost')
  const late = dial()
  late.socket.write('lost')
  await late.until(() => proxy.acceptedCount === 2)
  await setTimeout(30)
  proxy.setFault({ kind: 'pass' })
  client.socket.write('after')
  late.socket.write('after')

  const fresh = await pair()
  fresh.client.socket.write('new')
  await fresh.target.untilBytes(3)
  t.equal(target.text, 'before')
  t.equal(client.text, '')
  t.equal(late.text, '')
  t.equal(accepted.length, 2, 'the connection made in the black hole never reached the target')
  t.strictSame(
    [client, target, late].map(({ hasEnded, isClosed }) => hasEnded || isClosed),
    [false, false, false],
  )

  client.socket.resetAndDestroy()
  await setTimeout(30)
  t.notOk(target.isClosed || target.hasEnded, 'resets vanish too')
  target.socket.end()
  await target.until(() => target.isClosed)
})

t.test('latency delays everything by about as much as asked, in order', async (t) => {
  const { proxy, pair } = await stage(t)
  proxy.setFault({ kind: 'latency', delayMs: 60, jitterMs: 30 })
  const { client, target } = await pair()
  const startMs = performance.now()
  for (let i = 0; i < 20; i++) {
    client.socket.write(`${i},`)
    await setTimeout(1)
  }
  client.socket.end()
  await target.untilBytes(1)
  const firstMs = performance.now() - startMs
  await target.until(() => target.hasEnded)
  t.ok(firstMs >= 59, `${firstMs} ms`)
  t.equal(target.text, `${Array.from({ length: 20 }, (_, i) => i).join()},`)

  proxy.setFault({ kind: 'pass' })
  target.socket.write('fast again')
  await client.untilBytes(10)
})

t.test('bandwidth limits each direction, and what waits leaves at once when the limit goes', async (t) => {
  const { proxy, pair } = await stage(t)
  proxy.setFault({ kind: 'bandwidth', bytesPerSecond: 100_000 })
  const { client, target } = await pair()
  const bytes = randomBytes(30_000)
  const startMs = performance.now()
  client.socket.write(bytes)
  await target.untilBytes(1)
  t.ok(target.received.length < bytes.length, 'bytes trickle')
  await target.untilBytes(bytes.length)
  const tookMs = performance.now() - startMs
  t.ok(tookMs >= 295, `${tookMs} ms`)
  t.equal(sha(target.received), sha(bytes))

  proxy.setFault({ kind: 'bandwidth', bytesPerSecond: 5000 })
  target.socket.write(bytes)
  await client.untilBytes(1)
  const changedMs = performance.now()
  proxy.setFault({ kind: 'pass' })
  await client.untilBytes(bytes.length)
  t.ok(performance.now() - changedMs < 3000, 'it would take six seconds')
  t.equal(sha(client.received), sha(bytes))
})

t.test('a stall holds bytes and ends, and delivers them later without a gap', async (t) => {
  const { proxy, pair } = await stage(t)
  const { client, target } = await pair()
  proxy.setFault({ kind: 'stall' })
  const bytes = randomBytes(8 * 1024 * 1024)
  client.socket.end(bytes)
  target.socket.write('held')
  await setTimeout(50)
  t.equal(target.received.length, 0)
  t.equal(client.received.length, 0)
  t.ok(client.socket.writableLength > 0, 'what is held has a bound')
  proxy.setFault({ kind: 'pass' })
  await target.until(() => target.hasEnded)
  t.equal(sha(target.received), sha(bytes))
  await client.untilBytes(4)
})

t.test('a reset hits both sides of every connection, and new ones', async (t) => {
  const { proxy, pair, dial } = await stage(t)
  const { client, target } = await pair()
  proxy.setFault({ kind: 'reset' })
  await client.until(() => client.isClosed)
  await target.until(() => target.isClosed)
  t.equal(client.errorCode, 'ECONNRESET')
  t.equal(target.errorCode, 'ECONNRESET')
  const next = dial()
  await next.until(() => next.isClosed)
  t.equal(next.errorCode, 'ECONNRESET')
})

t.test('half-open takes the client away behind the back of the target', async (t) => {
  const { proxy, pair } = await stage(t)
  const { client, target } = await pair()
  proxy.setFault({ kind: 'half-open' })
  await client.until(() => client.isClosed)
  t.equal(client.errorCode, 'ECONNRESET')
  const again = await pair()
  again.client.socket.write('back')
  await again.target.untilBytes(4)
  target.socket.write('anybody there?')
  await setTimeout(30)
  t.notOk(target.isClosed || target.hasEnded)
})

t.test('closing the proxy ends everything, whatever is held', async (t) => {
  const { proxy, pair } = await stage(t)
  proxy.setFault({ kind: 'latency', delayMs: 60_000, jitterMs: 0 })
  const { client, target } = await pair()
  client.socket.write('never')
  await setTimeout(10)
  await proxy.close()
  await client.until(() => client.isClosed)
  await target.until(() => target.isClosed)
  t.equal(target.text, '')
})

t.test('a network that forgets idle connections forgets only those', async (t) => {
  const { proxy, pair } = await stage(t)
  const open = await pair()
  proxy.setFault({ kind: 'nat-idle', idleMs: 150 })
  for (let beats = 0; beats < 5; beats++) {
    open.client.socket.write('.')
    await setTimeout(50)
  }
  await open.target.untilBytes(5)
  await setTimeout(300)
  open.client.socket.write('lost')
  const fresh = await pair()
  fresh.client.socket.write('new')
  await fresh.target.untilBytes(3)
  t.equal(open.target.text, '.....')
  t.notOk(open.client.isClosed || open.target.isClosed || open.target.hasEnded, 'and nobody is told')
})

t.test('after a change of address old connections are silent and new ones pass', async (t) => {
  const { proxy, pair } = await stage(t)
  const old = await pair()
  proxy.setFault({ kind: 'moved' })
  old.client.socket.write('lost')
  const fresh = await pair()
  fresh.client.socket.write('new')
  await fresh.target.untilBytes(3)
  t.equal(old.target.text, '')
  t.notOk(old.client.isClosed || old.target.isClosed)
})

t.test('as a process of its own it takes faults in order', async (t) => {
  const { target } = await echo(t)
  const proxy = await ProxyProcess.start(target, 1)
  t.teardown(() => proxy.close())
  const first = dialProxy(t, proxy.port)
  first.write('a')
  t.equal(String((await once(first, 'data'))[0]), 'a')
  proxy.setFault({ kind: 'reset' })
  await new Promise((resolve) => first.once('close', resolve))
  proxy.setFault({ kind: 'pass' })
  // What is dialed before the process has heard of the change is still reset.
  for (let echoed = ''; echoed !== 'b'; ) {
    const next = dialProxy(t, proxy.port)
    next.write('b')
    echoed = await new Promise((resolve) => {
      next.once('data', (chunk) => resolve(String(chunk)))
      next.once('close', () => resolve(''))
    })
  }
  t.pass('it passes again')
})

function dialProxy(t: Test, port: number): Socket {
  const socket = connect({ host: '127.0.0.1', port })
  socket.on('error', () => undefined)
  t.teardown(() => socket.destroy())
  return socket
}

async function echo(t: Test) {
  const server = createServer((socket) => socket.on('error', () => undefined).pipe(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { target: { host: '127.0.0.1', port: (server.address() as AddressInfo).port } }
}
