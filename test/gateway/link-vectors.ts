/**
 * Makes docs/serial-link.vectors.json: `node --import=tsx test/gateway/link-vectors.ts`. The bytes come from the
 * firmware's codec and from a recorded talk between both ends in virtual time; link-vectors.test.ts holds the gateway
 * against them. Everything binary is lower-case hex.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import {
  crc,
  Flag,
  fromDevice,
  fromWire,
  littleEndian,
  stuff,
  Type,
  toFields,
  toWire,
} from '../../firmware-sim/link-codec.ts'
import { DeviceLink } from '../../firmware-sim/serial-link.ts'
import { SerialLink } from '../../src/gateway/serial-link.ts'
import { must } from '../../src/lib/assert.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

export interface CobsVector {
  readonly name: string
  readonly plain: string
  readonly encoded: string
}

export interface CrcVector {
  readonly name: string
  readonly bytes: string
  readonly crc: number
}

export interface FrameVector {
  readonly name: string
  readonly type: number
  /** Without the one that stands for the address. */
  readonly flags: number
  /** On a bus: of the device, with the bit 128 when it speaks. */
  readonly address?: number
  readonly seq: number
  readonly ack: number
  readonly payload: string
  readonly wire: string
}

export interface HelloVector {
  readonly name: string
  readonly payload: string
  /** After defaults and bounds are applied. */
  readonly hello: {
    readonly role: 'device' | 'host'
    readonly bootId: number
    readonly conversation: number
    readonly resetReason: string
    readonly mtuBytes: number
    readonly creditBytes: number
    readonly windowFrames: number
    readonly deviceId: string
    readonly firmware: string
    readonly wantsTime: boolean
    readonly baudRates: readonly number[]
  }
}

export interface TalkVector {
  readonly atMs: number
  readonly from: 'device' | 'host'
  /** What happens to the bytes on the line. */
  readonly fate: 'arrives' | 'damaged'
  readonly about: string
  readonly wire: string
}

export interface LinkVectors {
  readonly cobs: readonly CobsVector[]
  /** Not COBS. */
  readonly cobsRefused: readonly { readonly name: string; readonly encoded: string }[]
  readonly crc: readonly CrcVector[]
  readonly frames: readonly FrameVector[]
  /** Each is fed to a fresh receiver with an MTU of 128, followed by a good frame: only the good one is understood. */
  readonly framesRefused: readonly { readonly name: string; readonly wire: string }[]
  readonly hellos: readonly HelloVector[]
  readonly hellosRefused: readonly { readonly name: string; readonly payload: string }[]
  readonly conversation: readonly TalkVector[]
}

export const vectorsPath = fileURLToPath(new URL('../../docs/serial-link.vectors.json', import.meta.url))

const baudRate = 115_200

/** The whole file. */
export function vectorsText(): string {
  return `${JSON.stringify(linkVectors(), null, 2)}\n`
}

function linkVectors(): LinkVectors {
  return {
    cobs: cobsVectors(),
    cobsRefused: [
      { name: 'a group longer than the rest', encoded: '0511' },
      { name: 'a code without its bytes', encoded: '02' },
      { name: 'a zero as code', encoded: '00' },
      { name: 'a zero inside of a group', encoded: '03110022' },
    ],
    crc: crcVectors(),
    frames: frameVectors(),
    framesRefused: refusedFrames(),
    hellos: helloVectors(),
    hellosRefused: refusedHellos(),
    conversation: recordedTalk(),
  }
}

function cobsVectors(): CobsVector[] {
  const plains: Record<string, Buffer> = {
    'no byte': Buffer.alloc(0),
    'a zero': Buffer.from([0]),
    'two zeros': Buffer.from([0, 0]),
    'zeros around a byte': Buffer.from([0, 0x11, 0]),
    'a zero inside': Buffer.from([0x11, 0x22, 0, 0x33]),
    'zeros at the end': Buffer.from([0x11, 0, 0, 0]),
    '253 bytes': run(1, 253),
    '254 bytes: one full group and nothing behind it': run(1, 254),
    '255 bytes': run(1, 255),
    'a zero, then 254 bytes': Buffer.concat([Buffer.from([0]), run(1, 254)]),
    '253 bytes, then a zero': Buffer.concat([run(1, 253), Buffer.from([0])]),
    '254 bytes, then a zero': Buffer.concat([run(1, 254), Buffer.from([0])]),
    '255 bytes, then a zero': Buffer.concat([run(1, 255), Buffer.from([0])]),
    '254 bytes, a zero, 254 bytes': Buffer.concat([run(1, 254), Buffer.from([0]), run(1, 254)]),
    '508 bytes: two full groups': Buffer.concat([run(1, 254), run(1, 254)]),
    '509 bytes': Buffer.concat([run(1, 254), run(1, 255)]),
  }
  return Object.entries(plains).map(([name, plain]) => ({ name, plain: hex(plain), encoded: hex(stuff(plain)) }))
}

function crcVectors(): CrcVector[] {
  const inputs: Record<string, Buffer> = {
    'no byte': Buffer.alloc(0),
    'the check value': Buffer.from('123456789'),
    'a zero': Buffer.from([0]),
    'all ones': Buffer.from([0xff, 0xff]),
    'every byte once': run(0, 255),
  }
  return Object.entries(inputs).map(([name, bytes]) => ({ name, bytes: hex(bytes), crc: crc(bytes) }))
}

function frameVectors(): FrameVector[] {
  const { retransmitted, notReady, host } = Flag
  return [
    frame('RST of a device', Type.rst, 0, 0, 0, deviceHello()),
    frame('RSTACK of a host', Type.rstAck, host, 0, 0, hostHello()),
    frame('DATA', Type.data, 0, 0, 0, Buffer.from('hello')),
    frame('DATA of a host, sent again', Type.data, retransmitted | host, 255, 7, Buffer.from('hello')),
    frame('DATA full of zeros', Type.data, 0, 1, 1, Buffer.alloc(8)),
    frame('DATA of 123 bytes: an MTU of 128', Type.data, 0, 2, 9, run(1, 123)),
    frame('DATA without a byte', Type.data, 0, 3, 9, Buffer.alloc(0)),
    frame('ACK', Type.ack, 0, 4, 200, Buffer.alloc(0)),
    frame('ACK of an end that cannot take more', Type.ack, notReady, 4, 200, Buffer.alloc(0)),
    frame('NAK', Type.nak, 0, 4, 201, Buffer.alloc(0)),
    frame('PING', Type.ping, 0, 4, 201, Buffer.alloc(0)),
    frame('PONG', Type.pong, 0, 4, 201, Buffer.alloc(0)),
    frame('LOG', Type.log, 0, 4, 201, Buffer.from('sensor: 3 retries')),
    frame('TIME, asked by a device', Type.time, 0, 4, 201, Buffer.alloc(0)),
    frame('TIME: 2026-01-02T03:04:05.678Z from the network', Type.time, host, 4, 201, time()),
    frame('BAUD: 500000, of a host', Type.baud, host, 4, 201, littleEndian(500_000, 4)),
    frame('ERR', Type.err, 0, 4, 201, Buffer.alloc(0)),
    frame('type 15, of a newer version', 15, 0, 4, 201, Buffer.from('?')),
    frame('DATA to address 5 of a bus', Type.data, 0, 4, 201, Buffer.from('hello'), 5),
    frame('TURN to address 5', Type.turn, 0, 5, 201, Buffer.alloc(0), 5),
    frame('DATA from address 5', Type.data, retransmitted, 201, 5, Buffer.from('hello'), 5 + fromDevice),
    frame('TURN from address 5', Type.turn, 0, 202, 5, Buffer.alloc(0), 5 + fromDevice),
  ]
}

function frame(
  name: string,
  type: number,
  flags: number,
  seq: number,
  ack: number,
  payload: Buffer,
  address?: number,
): FrameVector {
  const fields = { type, flags, ...(address === undefined ? {} : { address }), seq, ack }
  return { name, ...fields, payload: hex(payload), wire: hex(toWire({ ...fields, payload })) }
}

function refusedFrames(): LinkVectors['framesRefused'] {
  const good = toWire({ type: Type.data, flags: 0, seq: 0, ack: 0, payload: Buffer.from('hello') })
  const promising = Buffer.from(good)
  promising.writeUInt8(good.readUInt8(4) + 1, 4)
  const swapped = Buffer.from([0x20, 0, 0, 0x68, 0x69, 0, 0])
  swapped.writeUInt16BE(crc(swapped.subarray(0, -2)), 5)
  const short = Buffer.from([0x30, 0, 0, 0])
  short.writeUInt16LE(crc(short.subarray(0, 2)), 2)
  const noRoom = Buffer.from([0x28, 5, 1, 0, 0])
  noRoom.writeUInt16LE(crc(noRoom.subarray(0, 3)), 3)
  return [
    { name: 'an address, and no room for ack', wire: delimited(stuff(noRoom)) },
    { name: 'a flipped bit', wire: hex(flipped(good, 6)) },
    { name: 'a lost byte', wire: hex(Buffer.concat([good.subarray(0, 5), good.subarray(6)])) },
    { name: 'a doubled byte', wire: hex(Buffer.concat([good.subarray(0, 6), good.subarray(5)])) },
    { name: 'the start of a frame', wire: hex(Buffer.concat([good.subarray(0, 6), Buffer.from([0])])) },
    { name: 'a checksum with the high byte first', wire: delimited(stuff(swapped)) },
    { name: 'a header of two bytes with its right checksum', wire: delimited(stuff(short)) },
    { name: 'one byte', wire: delimited(Buffer.from([1])) },
    { name: 'a group longer than the rest', wire: delimited(Buffer.from([9, 1, 1, 1])) },
    { name: 'a right checksum in a group that promises one byte more', wire: hex(promising) },
    { name: 'text of a boot loader', wire: delimited(Buffer.from('rst:0x1 (POWERON_RESET),boot:0x13\r\n')) },
    { name: 'more than any frame', wire: delimited(Buffer.alloc(300, 0x55)) },
    { name: 'two delimiters and nothing between them', wire: '0000' },
  ]
}

function helloVectors(): HelloVector[] {
  const bare = {
    resetReason: 'unknown',
    mtuBytes: 48,
    creditBytes: 64,
    windowFrames: 1,
    deviceId: '',
    firmware: '',
    wantsTime: false,
    baudRates: [],
  }
  const numbers = { bootId: 0x0a0b0c0d, conversation: 0x01020304 }
  return [
    {
      name: 'a device that says everything',
      payload: hex(deviceHello()),
      hello: {
        role: 'device',
        ...numbers,
        resetReason: 'watchdog',
        mtuBytes: 128,
        creditBytes: 512,
        windowFrames: 3,
        deviceId: 's1',
        firmware: 'thermo 1.2',
        wantsTime: true,
        baudRates: [250_000, 1_000_000],
      },
    },
    {
      name: 'a host',
      payload: hex(hostHello()),
      hello: { role: 'host', ...numbers, ...bare, mtuBytes: 1152, creditBytes: 3492, windowFrames: 7 },
    },
    { name: 'only what must be there', payload: hex(required()), hello: { role: 'device', ...numbers, ...bare } },
    {
      name: 'a field of the future is skipped',
      payload: hex(Buffer.concat([field(200, Buffer.from('new')), required()])),
      hello: { role: 'device', ...numbers, ...bare },
    },
    {
      name: 'limits below the lowest count as the lowest',
      payload: hex(Buffer.concat([required(), byte(6, 1), byte(7, 1), byte(8, 0)])),
      hello: { role: 'device', ...numbers, ...bare },
    },
    {
      name: 'a window above the highest counts as the highest',
      payload: hex(Buffer.concat([required(), byte(8, 200)])),
      hello: { role: 'device', ...numbers, ...bare, windowFrames: 7 },
    },
    {
      name: 'the fifth rate and those after it do not count',
      payload: hex(Buffer.concat([required(), field(12, rates(9600, 19_200, 38_400, 57_600, 115_200))])),
      hello: { role: 'device', ...numbers, ...bare, baudRates: [9600, 19_200, 38_400, 57_600] },
    },
    {
      name: 'rates that end inside of one count as none',
      payload: hex(Buffer.concat([required(), field(12, rates(9600).subarray(0, 3))])),
      hello: { role: 'device', ...numbers, ...bare },
    },
    {
      name: 'only the lowest bit of wants is the time',
      payload: hex(Buffer.concat([required(), byte(11, 0xfe)])),
      hello: { role: 'device', ...numbers, ...bare },
    },
    {
      name: 'an unknown reset reason',
      payload: hex(Buffer.concat([required(), byte(5, 99)])),
      hello: { role: 'device', ...numbers, ...bare },
    },
  ]
}

function refusedHellos(): LinkVectors['hellosRefused'] {
  const four = Buffer.alloc(4, 1)
  const whole = Buffer.concat([byte(2, 1), field(3, four), field(4, four)])
  return [
    { name: 'nothing', payload: '' },
    { name: 'cut inside of a value', payload: hex(whole.subarray(0, -1)) },
    { name: 'cut behind a type', payload: hex(Buffer.concat([whole, Buffer.from([9])])) },
    { name: 'a length beyond the end', payload: hex(Buffer.concat([whole, Buffer.from([9, 5, 0x61])])) },
    { name: 'no role', payload: hex(Buffer.concat([field(3, four), field(4, four)])) },
    { name: 'no boot id', payload: hex(Buffer.concat([byte(2, 1), field(4, four)])) },
    { name: 'no conversation', payload: hex(Buffer.concat([byte(2, 1), field(3, four)])) },
    { name: 'an unknown role', payload: hex(Buffer.concat([byte(2, 2), field(3, four), field(4, four)])) },
  ]
}

/** Both ends in virtual time; every write takes a millisecond to the other end. */
function recordedTalk(): TalkVector[] {
  const talk: TalkVector[] = []
  const clock = new VirtualClock()
  let isNextDamaged = false
  let about = ''
  const carry = (from: 'device' | 'host', wire: Buffer): void => {
    const name = must(fromWire(wire.subarray(1, -1)), 'whole frame').type
    const fate = isNextDamaged && name === Type.data ? 'damaged' : 'arrives'
    if (fate === 'damaged') isNextDamaged = false
    const arriving = fate === 'damaged' ? flipped(wire, 6) : wire
    talk.push({ atMs: Math.round(clock.nowMs()), from, fate, about, wire: hex(arriving) })
    clock.after(1, () => (from === 'device' ? host : device).receive(arriving))
  }
  const host: SerialLink = new SerialLink(
    'host',
    baudRate,
    {
      write: (bytes) => carry('host', bytes),
      onUp: () => {},
      onBytes: (chunk) => host.send(Buffer.from(chunk)),
      onDrain: () => {},
      onDown: () => {},
      onLog: () => {},
    },
    clock,
    new SeededRandom(1),
    { baudRateMax: 500_000, changeRate: () => {}, clockQuality: () => 'network' },
  )
  const device: DeviceLink = new DeviceLink(
    's1',
    baudRate,
    { write: (bytes) => carry('device', bytes), onUp: () => {}, onBytes: () => {}, onDown: () => {} },
    clock,
    new SeededRandom(2),
    { wantsTime: true, baudRates: [250_000, 500_000, 1_000_000] },
  )
  const act = (what: string, durationMs: number, action: () => void): void => {
    about = what
    action()
    clock.advanceMs(durationMs)
  }
  act('the gateway opens its port; nobody is there', 700, () => host.open())
  act('the device powers on, is told the time, and agrees to go faster', 100, () => device.powerOn('power-on'))
  act('the device sends; the gateway echoes', 100, () => device.send(Buffer.from('hello')))
  isNextDamaged = true
  act('a frame is damaged; the next one shows it', 200, () => {
    device.send(Buffer.from('one'))
    device.send(Buffer.from('two'))
  })
  act('the gateway cannot take more, then can', 600, () => host.pause())
  act('the gateway takes bytes again', 100, () => host.resume())
  act('a line for people', 50, () => device.log('hot'))
  act('the device asks for the time', 50, () => device.askTime())
  act('nobody speaks', 2100, () => {})
  act('the gateway ends the conversation: ERR at the raised rate, RST at the first one', 100, () => host.reset())
  act('the gateway leaves', 50, () => host.leave())
  device.powerOff()
  return talk
}

function deviceHello(): Buffer {
  return toFields([
    [1, littleEndian(1, 1)],
    [2, littleEndian(0, 1)],
    [3, littleEndian(0x0a0b0c0d, 4)],
    [4, littleEndian(0x01020304, 4)],
    [5, littleEndian(3, 1)],
    [6, littleEndian(128, 2)],
    [7, littleEndian(512, 2)],
    [8, littleEndian(3, 1)],
    [9, Buffer.from('s1')],
    [10, Buffer.from('thermo 1.2')],
    [11, littleEndian(1, 1)],
    [12, rates(250_000, 1_000_000)],
  ])
}

function rates(...values: number[]): Buffer {
  return Buffer.concat(values.map((value) => littleEndian(value, 4)))
}

/** 2026-01-02T03:04:05.678Z */
function time(): Buffer {
  const payload = Buffer.alloc(9, 3)
  payload.writeBigUInt64LE(BigInt(Date.UTC(2026, 0, 2, 3, 4, 5, 678)), 0)
  return payload
}

function hostHello(): Buffer {
  return toFields([
    [1, littleEndian(1, 1)],
    [2, littleEndian(1, 1)],
    [3, littleEndian(0x0a0b0c0d, 4)],
    [4, littleEndian(0x01020304, 4)],
    [5, littleEndian(0, 1)],
    [6, littleEndian(1152, 2)],
    [7, littleEndian(3492, 2)],
    [8, littleEndian(7, 1)],
    [9, Buffer.alloc(0)],
    [10, Buffer.alloc(0)],
  ])
}

function required(): Buffer {
  return Buffer.concat([byte(2, 0), field(3, littleEndian(0x0a0b0c0d, 4)), field(4, littleEndian(0x01020304, 4))])
}

function field(type: number, value: Buffer): Buffer {
  return toFields([[type, value]])
}

function byte(type: number, value: number): Buffer {
  return field(type, Buffer.from([value]))
}

function run(from: number, to: number): Buffer {
  return Buffer.from(Array.from({ length: to - from + 1 }, (_, at) => from + at))
}

function flipped(bytes: Buffer, at: number): Buffer {
  const damaged = Buffer.from(bytes)
  damaged.writeUInt8(damaged.readUInt8(at) ^ 0x10, at)
  return damaged
}

function delimited(stuffed: Buffer): string {
  return `00${hex(stuffed)}00`
}

function hex(bytes: Buffer): string {
  return bytes.toString('hex')
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) writeFileSync(vectorsPath, vectorsText())
