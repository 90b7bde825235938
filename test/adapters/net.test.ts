import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createTcpDialer } from '../../src/adapters/net/dial.ts'
import type { NetListener } from '../../src/adapters/net/listener.ts'
import { readIntoShared } from '../../src/adapters/net/shared-buffer.ts'
import { listenTcp } from '../../src/adapters/net/tcp.ts'
import { Failure } from '../../src/lib/errors.ts'
import type { DialOutcome, ListenerTraits } from '../../src/ports/transport.ts'
import { RecordingLog } from '../fakes/recording-log.ts'
import { RecordingAcceptor, RecordingOwner } from '../fakes/recording-owner.ts'

const loopback = { host: '127.0.0.1', port: 0 }
const traits: ListenerTraits = {
  name: 'tcp test',
  mountpoint: undefined,
  requireIdentity: false,
  allowAnonymous: true,
  acceptsGateways: false,
}

type Stage = { listener: NetListener; acceptor: RecordingAcceptor; log: RecordingLog }

async function listen(t: Test): Promise<Stage> {
  const acceptor = new RecordingAcceptor()
  const log = new RecordingLog()
  const listener = await listenTcp({ bind: loopback }, acceptor, traits, log)
  t.teardown(() => {
    for (const owner of acceptor.owners) owner.link.destroy()
    return listener.close()
  })
  return { listener, acceptor, log }
}

/** A client socket and the owner of its link on our side. */
async function pair(t: Test, stage: Stage, allowHalfOpen = false): Promise<{ client: Socket; owner: RecordingOwner }> {
  const client = connect({ ...stage.listener.address, allowHalfOpen })
  client.on('error', () => {})
  t.teardown(() => client.destroy())
  await once(client, 'connect')
  return { client, owner: await stage.acceptor.next() }
}

/** Exactly the next `byteCount` bytes; afterwards the client reads no more. */
function readAll(client: Socket, byteCount: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let count = 0
  return new Promise((resolve) => {
    client.on('data', function onData(chunk) {
      chunks.push(chunk)
      count += chunk.length
      if (count < byteCount) return
      client.off('data', onData).pause()
      resolve(Buffer.concat(chunks))
    })
    client.resume()
  })
}

function sha(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

t.test('bytes come and go in order, in however many pieces they are sent', async (t) => {
  const stage = await listen(t)
  const { client, owner } = await pair(t, stage)
  owner.onChunk = (chunk) => owner.link.send([Buffer.from(chunk), Buffer.from('|'), Buffer.from(chunk)])
  client.write('one')
  t.equal((await readAll(client, 7)).toString(), 'one|one')
  client.write('two')
  t.equal((await readAll(client, 7)).toString(), 'two|two')
  owner.send('single')
  t.equal((await readAll(client, 6)).toString(), 'single')
  t.equal(owner.received.toString(), 'onetwo')
  t.equal(owner.link.remote, `127.0.0.1:${client.localPort}`)
  t.equal(owner.link.identity, undefined)
  t.equal(stage.acceptor.traits[0], traits)
})

t.test('all sockets are read into the same memory', async (t) => {
  const stage = await listen(t)
  const chunks: Buffer[] = []
  for (const text of ['one', 'two']) {
    const { client, owner } = await pair(t, stage)
    owner.onChunk = (chunk) => chunks.push(chunk)
    client.write(text)
    await owner.until(() => owner.chunks.length === 1)
    t.equal(owner.received.toString(), text)
    t.equal(owner.link.chunksStay, false)
  }
  t.strictSame(chunks.map(String), ['two', 'two'], 'a version of Node that reads in another way makes this fail')
})

t.test('a socket that cannot be read so is left alone', async (t) => {
  const socket = new Socket()
  const fieldCount = Reflect.ownKeys(socket).length
  t.equal(
    readIntoShared(socket, () => {}),
    false,
    'it has no handle',
  )
  t.equal(Reflect.ownKeys(socket).length, fieldCount)
})

t.test('several pieces of one send are one write to the system', async (t) => {
  const stage = await listen(t)
  const { client, owner } = await pair(t, stage)
  const chunks: string[] = []
  client.on('data', (chunk) => chunks.push(chunk.toString()))
  for (let round = 0; round < 20; round++) {
    const before = chunks.length
    owner.send('a', 'b', 'c')
    while (chunks.slice(before).join('').length < 3) await once(client, 'data')
  }
  t.strictSame(new Set(chunks), new Set(['abc']))
})

t.test('what a slow peer does not read is counted, and its leaving is told once', async (t) => {
  const stage = await listen(t)
  const { client, owner } = await pair(t, stage)
  client.pause()
  const bytes = randomBytes(24 * 1024 * 1024)
  const third = bytes.length / 3
  owner.call((link) => link.send([bytes.subarray(0, third)]))
  owner.call((link) => link.send([bytes.subarray(third, 2 * third), bytes.subarray(2 * third)]))
  t.ok(owner.link.bufferedByteCount > third, 'the kernel cannot have taken everything')
  t.equal(owner.drainCount, 0)
  const received = await readAll(client, bytes.length)
  t.equal(sha(received), sha(bytes))
  await owner.until(() => owner.drainCount > 0)
  t.equal(owner.link.bufferedByteCount, 0)
  owner.send('small')
  await readAll(client, 5)
  t.equal(owner.drainCount, 1, 'what left at once owes no drain')
})

t.test('a paused link delivers nothing until it is resumed', async (t) => {
  const stage = await listen(t)
  const paused = await pair(t, stage)
  const other = await pair(t, stage)
  other.owner.onChunk = (chunk) => other.owner.link.send([Buffer.from(chunk)])
  paused.owner.call((link) => link.pause())
  paused.client.write('later')
  for (let round = 0; round < 20; round++) {
    other.client.write('ping')
    await readAll(other.client, 4)
  }
  t.equal(paused.owner.chunks.length, 0)
  paused.owner.call((link) => link.resume())
  await paused.owner.until(() => paused.owner.received.length === 5)
  t.equal(paused.owner.received.toString(), 'later')
})

t.test('a link that is paused or destroyed while it is accepted stays so', async (t) => {
  const stage = await listen(t)
  stage.acceptor.onAccept = (owner) => owner.link.pause()
  const { client, owner } = await pair(t, stage)
  client.write('early')
  await new Promise((resolve) => client.write('', resolve))
  t.equal(owner.chunks.length, 0)
  owner.link.resume()
  await owner.until(() => owner.chunks.length > 0)
  stage.acceptor.onAccept = (owner) => owner.link.destroy()
  const refused = await pair(t, stage)
  t.equal(await refused.owner.untilClosed(), undefined)
  await once(refused.client, 'close')
})

t.test('a peer that stops sending gets what is buffered, then the link closes without a failure', async (t) => {
  const stage = await listen(t)
  const { client, owner } = await pair(t, stage, true)
  const bytes = randomBytes(8 * 1024 * 1024)
  owner.onChunk = () => owner.link.send([bytes])
  client.end('last words')
  t.equal(sha(await readAll(client, bytes.length)), sha(bytes))
  t.equal(await owner.untilClosed(), undefined)
  t.equal(owner.received.toString(), 'last words')
  t.equal(stage.listener.linkCount, 0)
})

t.test('a reset is a failure, also while sending', async (t) => {
  const stage = await listen(t)
  const idle = await pair(t, stage)
  idle.client.resetAndDestroy()
  const failure = await idle.owner.untilClosed()
  t.equal(failure?.code, 'ERR_LINK_CLOSED')
  t.equal(failure?.detail, `${idle.owner.link.remote}: connection reset by peer`)
  t.match(failure?.cause, { code: 'ECONNRESET' })

  const busy = await pair(t, stage)
  busy.client.pause()
  busy.owner.call((link) => link.send([randomBytes(16 * 1024 * 1024)]))
  busy.client.resetAndDestroy()
  t.equal((await busy.owner.untilClosed())?.code, 'ERR_LINK_CLOSED')
  busy.owner.send('into the void')
  busy.owner.call((link) => link.end())
  busy.owner.call((link) => link.destroy())
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(busy.owner.closings.length, 1)
})

t.test('end sends everything first, and discards what still comes', async (t) => {
  const stage = await listen(t)
  const { client, owner } = await pair(t, stage, true)
  client.pause()
  owner.call((link) => link.pause())
  client.write(randomBytes(100_000))
  const bytes = randomBytes(4 * 1024 * 1024)
  owner.call((link) => link.send([bytes]))
  owner.call((link) => link.end())
  owner.send('too late')
  t.equal(sha(await readAll(client, bytes.length)), sha(bytes))
  client.end()
  t.equal(await owner.untilClosed(), undefined)
  t.equal(owner.chunks.length, 0)
})

t.test('a peer that does not close its half is cut off after two seconds', async (t) => {
  const stage = await listen(t)
  const { client, owner } = await pair(t, stage, true)
  client.resume()
  const startMs = performance.now()
  owner.call((link) => link.end())
  t.equal(await owner.untilClosed(), undefined)
  const tookMs = performance.now() - startMs
  t.ok(tookMs > 1900 && tookMs < 10_000, `${tookMs} ms`)
})

t.test('destroy closes at once and tells later', async (t) => {
  const stage = await listen(t)
  const { client, owner } = await pair(t, stage)
  client.pause()
  owner.call((link) => link.send([randomBytes(16 * 1024 * 1024)]))
  owner.call((link) => link.destroy())
  owner.call((link) => link.destroy())
  t.notOk(owner.isClosed)
  t.equal(await owner.untilClosed(), undefined)
  t.equal(owner.drainCount, 0)
})

t.test('a closed listener frees its address and leaves its links alone', async (t) => {
  const stage = await listen(t)
  const { client, owner } = await pair(t, stage)
  t.equal(stage.listener.linkCount, 1)
  await stage.listener.close()
  await stage.listener.close()
  const again = await listenTcp({ bind: stage.listener.address }, stage.acceptor, traits, stage.log)
  t.strictSame(again.address, stage.listener.address)
  await again.close()
  owner.onChunk = (chunk) => owner.link.send([Buffer.from(chunk)])
  client.write('still here')
  t.equal((await readAll(client, 10)).toString(), 'still here')
  client.destroy()
  await owner.untilClosed()
  t.equal(stage.listener.linkCount, 0)
  const opened = { name: 'tcp test', bind: `127.0.0.1:${stage.listener.address.port}` }
  t.strictSame(stage.log.fieldsOf('listener open')[0], opened)
})

t.test('an address that cannot be bound is a failure that names the setting', async (t) => {
  const stage = await listen(t)
  const open = (bind: { host: string; port: number }) => listenTcp({ bind }, stage.acceptor, traits, stage.log)
  const { port } = stage.listener.address
  await t.rejects(open(stage.listener.address), {
    code: 'ERR_LISTEN',
    detail: `bind = "127.0.0.1:${port}" is in use by another program`,
  })
  await t.rejects(open({ host: '192.0.2.1', port: 0 }), {
    code: 'ERR_LISTEN',
    detail: 'bind = "192.0.2.1:0" is no address of this machine',
  })
  t.equal(stage.log.fieldsOf('listener open').length, 1)
})

t.test('a listener on every interface takes IPv4 and writes it as IPv4', async (t) => {
  const acceptor = new RecordingAcceptor()
  const listener = await listenTcp({ bind: { host: '::', port: 0 } }, acceptor, traits, new RecordingLog())
  const client = connect({ host: '127.0.0.1', port: listener.address.port })
  const owner = await acceptor.next()
  t.equal(owner.link.remote, `127.0.0.1:${client.localPort}`)
  client.destroy()
  await owner.untilClosed()
  await listener.close()
})

/** Resolves with whichever end the attempt had. */
function dialOnce(dial: (outcome: DialOutcome) => void): Promise<RecordingOwner | Failure> {
  return new Promise((resolve) => {
    dial({
      onConnected(link) {
        const owner = new RecordingOwner(link)
        resolve(owner)
        return owner
      },
      onFailed: resolve,
    })
  })
}

t.test('a dialled link carries bytes both ways', async (t) => {
  const stage = await listen(t)
  const dialer = createTcpDialer({ address: stage.listener.address, timeoutMs: 5000 })
  t.equal(dialer.address, `tcp://127.0.0.1:${stage.listener.address.port}`)
  const owner = await dialOnce((outcome) => dialer.dial(outcome))
  if (owner instanceof Failure) throw owner
  const accepted = await stage.acceptor.next()
  owner.send('up')
  await accepted.until(() => accepted.received.toString() === 'up')
  accepted.send('down')
  await owner.until(() => owner.received.toString() === 'down')
  owner.call((link) => link.end())
  t.equal(await owner.untilClosed(), undefined)
  t.equal(await accepted.untilClosed(), undefined)
})

t.test('an address where nobody listens is a failure', async (t) => {
  const stage = await listen(t)
  await stage.listener.close()
  for (const host of ['127.0.0.1', 'localhost']) {
    const dialer = createTcpDialer({ address: { host, port: stage.listener.address.port }, timeoutMs: 5000 })
    const failure = await dialOnce((outcome) => dialer.dial(outcome))
    t.match(failure, { code: 'ERR_DIAL', detail: `${dialer.address}: connection refused` })
  }
})

t.test('an aborted attempt says nothing any more', async (t) => {
  const stage = await listen(t)
  const dialer = createTcpDialer({ address: stage.listener.address, timeoutMs: 1 })
  const dial = dialer.dial({
    onConnected: () => t.bailout('connected after abort') as never,
    onFailed: () => t.fail('failed after abort'),
  })
  dial.abort()
  dial.abort()
  await pair(t, stage)
  await setTimeout(20) // Well beyond the time limit of the attempt.
  t.pass()
})

t.test('what many peers send at once is taken in several turns, in order, and before their ends', async (t) => {
  const stage = await listen(t)
  const peerCount = 10
  /** What was taken in each turn of the event loop: a piece takes 1 ms. */
  const turnsMs: number[] = [0]
  const taken = new Map<RecordingOwner, Buffer[]>()
  let isOver = false
  const count = (): void => {
    turnsMs.push(0)
    if (!isOver) setImmediate(count)
  }
  count()
  const ends: Promise<void>[] = []
  const pairs = await Promise.all(Array.from({ length: peerCount }, () => pair(t, stage)))
  for (const [peer, { client, owner }] of pairs.entries()) {
    const sent = Buffer.from(Array.from({ length: 60_000 }, (_, i) => (i + peer) % 251))
    taken.set(owner, [])
    owner.receive = (chunk) => {
      taken.get(owner)?.push(Buffer.from(chunk))
      const startMs = performance.now()
      while (performance.now() < startMs + 1);
      turnsMs[turnsMs.length - 1] = (turnsMs.at(-1) ?? 0) + 1
    }
    ends.push(
      new Promise((resolve) => {
        owner.onClosed = () => {
          t.same(Buffer.concat(taken.get(owner) ?? []), sent, 'all of it came before the end')
          resolve()
        }
      }),
    )
    client.end(sent)
  }
  await Promise.all(ends)
  isOver = true
  const busiestMs = Math.max(...turnsMs)
  const allMs = turnsMs.reduce((sum, each) => sum + each, 0)
  t.ok(allMs >= peerCount * 2, `there was work of ${allMs} ms`)
  t.ok(busiestMs <= 10, `${busiestMs} ms of it in one turn`)
})
