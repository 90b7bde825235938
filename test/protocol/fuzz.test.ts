/**
 * Broken packets in great number: nothing but a PacketFault may come of them, and nothing of a neighbouring packet may
 * come into them. `SEED=...` repeats a run, `ROUNDS=...` makes it longer.
 */
import t from 'tap'
import { PacketFault } from '../../src/protocol/fault.ts'
import { FrameDecoder } from '../../src/protocol/frame.ts'
import { PacketType, type Version } from '../../src/protocol/packet.ts'
import { variableByteCount, writeVariableByteInteger } from '../../src/protocol/variable-byte-integer.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { malformedFixtures } from '../fixtures/malformed-packets.ts'
import { packetFixtures } from '../fixtures/packets.ts'
import { type AnyPacket, decodeBody, encodeFrame, faultOf, frameBytesMax, plain, wire } from '../fixtures/wire.ts'

const { SEED, ROUNDS } = process.env
const seed = Number(SEED ?? 20_251_121)
const rounds = Number(ROUNDS ?? 80_000)
const random = new SeededRandom(seed)
t.comment(`SEED=${seed}`)

const seeds = [...packetFixtures, ...malformedFixtures].map(({ bytes, version }) => ({ bytes, version }))

/** What lies around a frame: more of the same, and what would make sense there. */
const neighbours = [
  Buffer.alloc(64, 0x00),
  Buffer.alloc(64, 0xff),
  Buffer.alloc(64, 'a'),
  wire("0001'a' 00 0001'a' 00 0001'a' 00 0001'a' 00 0001'a' 00 0001'a' 00 0001'a' 00 0001'a' 00"),
  Buffer.concat(Array.from({ length: 16 }, () => wire('40 02 0001'))),
]

const interesting = [0x00, 0x01, 0x02, 0x04, 0x0b, 0x23, 0x26, 0x7f, 0x80, 0xc0, 0xff]

function pick<T>(items: readonly T[]): T {
  return items[random.below(items.length)] as T
}

function anyByte(): number {
  return random.below(2) === 0 ? pick(interesting) : random.below(256)
}

/** `body` with a few of the faults that broken devices and hostile people make. */
function mutated(body: Buffer): Buffer {
  let bytes = Buffer.from(body)
  for (let count = pick([1, 1, 1, 2, 4]); count > 0; count--) {
    const at = random.below(bytes.length + 1)
    const to = at + random.below(8)
    switch (random.below(6)) {
      case 0:
        bytes = bytes.subarray(0, at)
        break
      case 1:
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from([anyByte()]), bytes.subarray(at)])
        break
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)])
        break
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, to), bytes.subarray(at)])
        break
      default:
        if (at < bytes.length) bytes[at] = anyByte()
    }
  }
  return bytes
}

type Case = { header: number; body: Buffer; version: Version | undefined }

function nextCase(): Case {
  const version = pick([3, 4, 5, 5, undefined] as const)
  if (random.below(8) === 0) {
    return { header: random.below(256), body: Buffer.from(Array.from({ length: random.below(40) }, anyByte)), version }
  }
  const { bytes, version: seedVersion } = pick(seeds)
  const header = random.below(10) === 0 ? random.below(256) : (bytes[0] as number)
  // A CONNECT is read without a version, everything else seldom.
  const isFirst = header >> 4 === PacketType.connect
  const body = bytes.subarray((bytes[1] as number) < 0x80 ? 2 : 3)
  return { header, body: mutated(body), version: isFirst ? undefined : random.below(4) === 0 ? version : seedVersion }
}

/** What came of it, as text. Throws what is not a PacketFault. */
function told(answer: AnyPacket | PacketFault): string {
  if (answer instanceof PacketFault) return `${answer.reasonCode} ${answer.clause} ${answer.message}`
  return JSON.stringify(plain(answer))
}

t.test('a frame means the same wherever it lies and whatever lies around it', async (t) => {
  let faults = 0
  for (let round = 0; round < rounds; round++) {
    const { header, body, version } = nextCase()
    const alone = decodeBody(header, body, 0, body.length, version)
    if (alone instanceof PacketFault) faults++
    const around = pick(neighbours)
    const bytes = Buffer.concat([around, body, around])
    const amidst = decodeBody(header, bytes, around.length, around.length + body.length, version)
    if (told(alone) !== told(amidst)) {
      t.fail('a neighbour was read', {
        header,
        body: body.toString('hex'),
        version,
        alone: told(alone),
        amidst: told(amidst),
      })
      return
    }
  }
  t.ok(faults > rounds / 4, `${faults} of ${rounds} were broken`)
  t.ok(faults < rounds, 'and some were not')
})

t.test('whatever is accepted writes and reads as the same packet', async (t) => {
  let accepted = 0
  for (let round = 0; round < rounds; round++) {
    const { header, body, version } = nextCase()
    const packet = decodeBody(header, body, 0, body.length, version)
    if (packet instanceof PacketFault) continue
    accepted++
    const spoken = packet.type === PacketType.connect ? packet.version : (version as Version)
    const frame = encodeFrame(packet, spoken)
    const decoder = new FrameDecoder(frameBytesMax)
    decoder.push(frame)
    decoder.next()
    const again = decodeBody(decoder.header, decoder.bytes, decoder.start, decoder.end, version)
    if (told(again) !== told(packet)) {
      t.fail('it changed', { header, body: body.toString('hex'), version, packet: told(packet), again: told(again) })
      return
    }
  }
  t.ok(accepted > rounds / 20, `${accepted} of ${rounds} were accepted`)
})

t.test('a stream of broken packets gives the same frames in any chunks', async (t) => {
  for (let round = 0; round < rounds / 100; round++) {
    const stream = Buffer.concat(
      Array.from({ length: 8 }, () => (random.below(12) === 0 ? garbage() : framed(nextCase()))),
    )
    const whole = walked([stream])
    const chunks: Buffer[] = []
    for (let at = 0; at < stream.length; ) {
      const end = at + 1 + random.below(30)
      chunks.push(stream.subarray(at, end))
      at = end
    }
    if (walked(chunks) !== whole) {
      t.fail('the chunks made a difference', { stream: stream.toString('hex') })
      return
    }
  }
  t.pass('all of them')
})

function garbage(): Buffer {
  return Buffer.from(Array.from({ length: random.below(12) }, anyByte))
}

function framed({ header, body }: Case): Buffer {
  const frame = Buffer.alloc(1 + variableByteCount(body.length))
  frame[0] = header
  writeVariableByteInteger(frame, 1, body.length)
  return Buffer.concat([frame, body])
}

/** Everything a connection of 5.0 would get out of `chunks`, up to the fault that ends it. */
function walked(chunks: readonly Buffer[]): string {
  const decoder = new FrameDecoder(1000)
  const heard: string[] = []
  const fault = faultOf(() => {
    for (const chunk of chunks) {
      decoder.push(chunk)
      while (decoder.next()) {
        heard.push(told(decodeBody(decoder.header, decoder.bytes, decoder.start, decoder.end, 5)))
      }
    }
  })
  return [...heard, fault?.message ?? ''].join('\n')
}
