/**
 * The part of telnet that a serial port over TCP needs: RFC 2217 puts line settings between the bytes, each behind 255.
 * Bytes of 255 in the stream are doubled. Unknown options are refused, as telnet demands.
 */
const interpret = 255
const dont = 254
const does = 253
const wont = 252
const will = 251
const subnegotiation = 250
const subnegotiationEnd = 240

const binary = 0
const suppressGoAhead = 3
const comPort = 44

/** Commands of RFC 2217. */
const setBaudRate = 1
const setDataSize = 2
const setParity = 3
const setStopSize = 4
const setControl = 5

const noFlowControl = 1
const dtrOff = 9

/** What is said first: eight bits both ways, and that the port will be set. */
export function greeting(): Buffer {
  return Buffer.from([
    ...[interpret, will, binary, interpret, does, binary],
    ...[interpret, will, suppressGoAhead, interpret, does, suppressGoAhead],
    ...[interpret, will, comPort],
  ])
}

/** 8N1 at this rate, without flow control. @param leavesReset drops DTR for a moment, which resets most boards */
export function lineSettings(baudRate: number, leavesReset: boolean): Buffer {
  return Buffer.concat([
    rateSetting(baudRate),
    command(setDataSize, [8]),
    command(setParity, [1]),
    command(setStopSize, [1]),
    command(setControl, [noFlowControl]),
    ...(leavesReset ? [command(setControl, [dtrOff]), command(setControl, [dtrOff - 1])] : []),
  ])
}

export function rateSetting(baudRate: number): Buffer {
  const rate = Buffer.alloc(4)
  rate.writeUInt32BE(baudRate, 0)
  return command(setBaudRate, [...rate])
}

/** The bytes of the stream as telnet carries them. */
export function escaped(bytes: Buffer): Buffer {
  if (!bytes.includes(interpret)) return bytes
  return Buffer.from([...bytes].flatMap((byte) => (byte === interpret ? [interpret, interpret] : [byte])))
}

function command(code: number, values: readonly number[]): Buffer {
  const body = escaped(Buffer.from(values))
  return Buffer.concat([
    Buffer.from([interpret, subnegotiation, comPort, code]),
    body,
    Buffer.from([interpret, subnegotiationEnd]),
  ])
}

type State = 'data' | 'interpret' | 'option' | 'subnegotiation' | 'subnegotiation-interpret'

/** Takes the commands out of what comes. Holds nothing of a subnegotiation: the answers of the port are not needed. */
export class TelnetDecoder {
  #state: State = 'data'
  #verb = 0

  /** The bytes of the stream in `chunk`. @param answer what telnet wants said about an option, to be sent */
  push(chunk: Buffer, answer: (bytes: Buffer) => void): Buffer {
    if (this.#state === 'data' && !chunk.includes(interpret)) return chunk
    const plain = Buffer.allocUnsafe(chunk.length)
    let length = 0
    for (const byte of chunk) {
      if (this.#step(byte, answer)) plain[length++] = byte
    }
    return plain.subarray(0, length)
  }

  /** @returns whether `byte` belongs to the stream */
  #step(byte: number, answer: (bytes: Buffer) => void): boolean {
    switch (this.#state) {
      case 'data':
        if (byte !== interpret) return true
        this.#state = 'interpret'
        return false
      case 'interpret':
        this.#state = 'data'
        if (byte === interpret) return true
        if (byte === subnegotiation) this.#state = 'subnegotiation'
        else if (byte >= will && byte <= dont) {
          this.#verb = byte
          this.#state = 'option'
        }
        return false
      case 'option':
        this.#state = 'data'
        if (byte !== binary && byte !== suppressGoAhead && byte !== comPort) {
          if (this.#verb === will) answer(Buffer.from([interpret, dont, byte]))
          if (this.#verb === does) answer(Buffer.from([interpret, wont, byte]))
        }
        return false
      case 'subnegotiation':
        if (byte === interpret) this.#state = 'subnegotiation-interpret'
        return false
      case 'subnegotiation-interpret':
        this.#state = byte === subnegotiationEnd ? 'data' : 'subnegotiation'
        return false
    }
  }
}
