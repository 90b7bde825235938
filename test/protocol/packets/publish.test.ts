import t from 'tap'
import { OutputBuffer, referenceBytesMin } from '../../../src/protocol/output.ts'
import type { Qos, Version } from '../../../src/protocol/packet.ts'
import { decodePublish, encodePublish, Publish, TopicMemo } from '../../../src/protocol/packets/publish.ts'
import { wire } from '../../fixtures/wire.ts'

const unlimited = Number.MAX_SAFE_INTEGER

function decode(notation: string, flags = 0, version: Version = 4, memo = new TopicMemo()): Publish {
  const body = wire(notation)
  return decodePublish(body, 0, body.length, flags, version, memo)
}

function encode(publish: Publish, qos: Qos, version: Version = 4, packetBytesMax = unlimited): Buffer[] {
  const out = new OutputBuffer()
  encodePublish(out, publish, version, qos, false, false, 1, publish.properties, packetBytesMax)
  return out.take()
}

t.test('a message is borrowed until it is owned', async (t) => {
  const body = wire("0003'a/b' 'payload'")
  const publish = decodePublish(body, 0, body.length, 0, 4, new TopicMemo())
  t.notOk(publish.isOwned)
  t.equal(publish.payload.buffer, body.buffer, 'the payload is a view')
  t.equal(publish.own(), publish)
  const owned = publish.bytes
  t.equal(publish.own().bytes, owned, 'owning again copies nothing')
  body.fill(0)
  t.ok(publish.isOwned)
  t.equal(publish.topic, 'a/b')
  t.equal(publish.payload.toString(), 'payload')
  t.equal(publish.payloadByteCount, 7)
  t.equal(Buffer.concat(encode(publish, 0)).toString('hex'), wire("30 0c 0003'a/b' 'payload'").toString('hex'))
})

t.test('a message goes out as its recipient has it', async (t) => {
  const publish = decode("0003'a/b' ffff 'x'", 0b1101)
  const out = new OutputBuffer()
  t.ok(encodePublish(out, publish, 4, 1, false, true, 258, undefined, unlimited))
  t.strictSame(Buffer.concat(out.take()), wire("3a 08 0003'a/b' 0102 'x'"))
  t.ok(encodePublish(out, publish, 5, 0, true, false, 0, { topicAlias: 1 }, unlimited))
  t.strictSame(Buffer.concat(out.take()), wire("31 0a 0003'a/b' 03 23 0001 'x'"))
  t.ok(encodePublish(out, publish, 5, 0, false, false, 0, {}, unlimited))
  t.strictSame(Buffer.concat(out.take()), wire("30 07 0003'a/b' 00 'x'"))
})

t.test('under another topic the rest of a message is the same', async (t) => {
  const original = decode("0003'a/b' 0007 02 01 01 'x'", 0b1011, 5)
  original.expiresAtMs = 99
  const copy = original.withTopic('site/\u00e9/a/b')
  t.equal(copy.topic, 'site/\u00e9/a/b')
  t.equal(copy.payload.toString(), 'x')
  const { qos, retain, dup, packetId, expiresAtMs, properties, isOwned } = copy
  t.match(
    { qos, retain, dup, packetId, expiresAtMs, isOwned },
    { qos: 1, retain: true, dup: true, packetId: 7, expiresAtMs: 99, isOwned: true },
  )
  t.equal(properties, original.properties)
  t.equal(original.topic, 'a/b', 'the original stays')
  t.equal(Buffer.concat(encode(copy, 0)).toString('hex'), wire("30 0e 000b 'site/\u00e9/a/b' 'x'").toString('hex'))
})

t.test('a message made inside the house copies its payload', async (t) => {
  const payload = Buffer.from('x')
  const publish = Publish.create({ topic: '\u00e9', payload, qos: 1, retain: true })
  payload.fill(0)
  t.equal(publish.payload.toString(), 'x')
  t.equal(Publish.create({ topic: 'a', payload: '\u00e9' }).payloadByteCount, 2)
  t.strictSame(Buffer.concat(encode(publish, 1)), wire('32 07 0002 c3a9 0001 78'))
})

t.test('the memo of a connection never takes one topic for another', async (t) => {
  const memo = new TopicMemo()
  for (const topic of ['a/b', 'a/b', 'a/c', 'b/c', 'a', 'a/b/c', 'a/b', '\u00e9', 'a/', 'a/b/c', 'a/b/d', 'b']) {
    const bytes = Buffer.from(`#${topic}#`)
    t.equal(memo.read(bytes, 1, bytes.length - 1, 4), topic)
  }
})

t.test('the memo keeps what it knew when a topic is not valid', async (t) => {
  const memo = new TopicMemo()
  t.equal(decode("0003'a/b'", 0, 4, memo).topic, 'a/b')
  t.throws(() => decode("0003'a/#'", 0, 4, memo))
  t.throws(() => decode("0003'a/#'", 0, 4, memo), 'also the second time')
  t.throws(() => decode('0000', 0, 4, memo))
  t.equal(decode("0003'a/b'", 0, 4, memo).topic, 'a/b')
})

t.test('a packet over the limit of the peer is not written [MQTT-3.1.2-24]', async (t) => {
  const publish = decode("0003'a/b' 'hello'")
  const out = new OutputBuffer()
  for (const [version, qos, properties, byteCount] of [
    [4, 0, undefined, 12],
    [4, 1, undefined, 14],
    [5, 2, undefined, 15],
    [5, 0, { topicAlias: 1 }, 16],
  ] as const) {
    t.notOk(encodePublish(out, publish, version, qos, false, false, 1, properties, byteCount - 1))
    t.equal(out.byteCount, 0)
    t.ok(encodePublish(out, publish, version, qos, false, false, 1, properties, byteCount))
    t.equal(Buffer.concat(out.take()).length, byteCount)
  }
})

t.test('no packet is longer than a remaining length can say', async (t) => {
  const bytes = Buffer.alloc(1)
  const huge = new Publish('a', 0, false, false, 0, undefined, bytes, 0, 1, 1, 268_435_454, true)
  t.notOk(encodePublish(new OutputBuffer(), huge, 4, 0, false, false, 0, undefined, unlimited))
})

t.test('a large payload is referenced when it is owned', async (t) => {
  const payload = Buffer.alloc(referenceBytesMin, 'x')
  const publish = Publish.create({ topic: 'a/b', payload })
  const [head, body] = encode(publish, 1, 5)
  t.strictSame(head, wire("32 8820 0003'a/b' 0001 00"))
  t.equal(body?.buffer, publish.bytes.buffer)
  t.strictSame(body, payload)

  const frame = Buffer.concat([wire("0003'a/b'"), payload])
  const borrowed = decodePublish(frame, 0, frame.length, 0, 4, new TopicMemo())
  t.equal(encode(borrowed, 0).length, 1, 'a borrowed one is copied, for its chunk may be gone before the write')
  t.equal(
    encode(Publish.create({ topic: 'a/b', payload: payload.subarray(1) }), 0).length,
    1,
    'a smaller one is copied',
  )
})

t.test('payloads of every length around the ways to copy arrive whole', async (t) => {
  for (const byteCount of [0, 1, 47, 48, 49, 127, 128, 4095, 4096, 16_383, 16_384, 70_000]) {
    const payload = Buffer.from(Array.from({ length: byteCount }, (_, index) => index % 251))
    const frame = Buffer.concat(encode(Publish.create({ topic: 'a/b', payload }), 0))
    t.ok(frame.subarray(frame.length - byteCount).equals(payload), `${byteCount} bytes`)
  }
})

t.test('a message for many is the same packet for each, but for its id', async (t) => {
  const forms = ([4, 5] as const).flatMap((version) =>
    ([0, 1, 2] as const).flatMap((qos) => [false, true].map((retain) => ({ version, qos, retain }))),
  )
  const encode = (
    message: Publish,
    { version, qos, retain }: (typeof forms)[number],
    packetId: number,
    max: number,
  ) => {
    const out = new OutputBuffer()
    const isSent = encodePublish(out, message, version, qos, retain, false, qos === 0 ? 0 : packetId, undefined, max)
    return isSent ? Buffer.concat(out.take()).toString('hex') : undefined
  }
  for (const payload of ['', 'x'.repeat(70), 'y'.repeat(5000)]) {
    const single = Publish.create({ topic: 'a/b', payload })
    const many = Publish.create({ topic: 'a/b', payload })
    many.isForMany = true
    // Each form three times in a row, as a fan-out asks for it, then all of them mixed.
    for (const form of [...forms.flatMap((form) => [form, form, form]), ...forms, ...forms]) {
      for (const packetId of [1, 0xabcd]) {
        t.equal(encode(many, form, packetId, 10_000), encode(single, form, packetId, 10_000))
      }
      t.equal(encode(many, form, 7, 9), encode(single, form, 7, 9), 'who takes less still gets nothing')
    }
  }
})
