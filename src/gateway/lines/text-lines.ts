/**
 * The adapter for devices that print lines: serial2mqtt's arrays, JSON objects, `key:value`, and text for people. Each
 * line tells by itself what it is, so that a sketch may mix them.
 */
import type { Qos } from '../../protocol/packet.ts'
import type { AdapterFault, Decoded, SerialAdapter } from './adapter.ts'
import { decodeArray, encodeArray } from './json-array.ts'
import { decodeObject, type ObjectLine } from './json-object.ts'
import { decodeKeyValue } from './key-value.ts'
import { LineSplitter } from './line-splitter.ts'

export interface TextLineSettings {
  readonly lineBytesMax: number
  /** The template asks for `{key}`: readings go out one by one. */
  readonly hasKeys: boolean
  /** Arrays without a checksum are refused, and what goes down has one. */
  readonly checksum: boolean
  /** What the device is sent, with `{topic}`, `{level}` (the last of the topic) and `{payload}`; undefined: an array */
  readonly downLine: string | undefined
}

export class TextLines implements SerialAdapter {
  readonly #settings: TextLineSettings
  readonly #splitter: LineSplitter

  constructor(settings: TextLineSettings) {
    this.#settings = settings
    this.#splitter = new LineSplitter(settings.lineBytesMax)
  }

  decode(chunk: Buffer): readonly Decoded[] {
    const units: Decoded[] = []
    this.#splitter.push(
      chunk,
      (line) => units.push(...this.#decodeLine(line)),
      (start) => units.push(faulty('overlong', start)),
    )
    return units
  }

  idle(): readonly Decoded[] {
    const units: Decoded[] = []
    this.#splitter.flush(
      (line) => units.push(...this.#decodeLine(line)),
      (start) => units.push(faulty('overlong', start)),
    )
    return units
  }

  clear(): void {
    this.#splitter.clear()
  }

  /** Line ends inside of a payload would be lines of their own. */
  encode(topic: string, payload: Buffer, qos: Qos, retain: boolean): Buffer | undefined {
    const { checksum, downLine } = this.#settings
    const text = payload.toString('utf8')
    if (downLine === undefined) return Buffer.from(`${encodeArray(topic, text, qos, retain, checksum)}\n`)
    if (/[\r\n]/.test(text)) return undefined
    const level = topic.slice(topic.lastIndexOf('/') + 1)
    return Buffer.from(`${fillLine(downLine, { topic, level, payload: text })}\n`)
  }

  #decodeLine(line: Buffer): readonly Decoded[] {
    if (!isText(line)) return [faulty('garbage', line)]
    const text = line.toString('utf8').trim()
    if (text === '') return []
    const first = text[0]
    if (first === '[' || first === '{') {
      const value = parseJson(text)
      if (Array.isArray(value) && value.length > 1 && typeof value[0] === 'number') {
        return [decodeArray(line, value, this.#settings.checksum)]
      }
      if (isObject(value)) return decodeObject(Buffer.from(text), value, this.#settings.hasKeys)
      // What begins like a message and ends like one was damaged on the way.
      if (value === undefined && isFramed(text)) return [faulty('grammar', line)]
    } else if (!this.#settings.checksum) {
      const pairs = decodeKeyValue(text)
      if (pairs !== undefined) return this.#values(pairs)
    }
    return [{ kind: 'log', text: Buffer.from(text) }]
  }

  #values(pairs: readonly (readonly [string, string])[]): readonly Decoded[] {
    if (this.#settings.hasKeys) {
      return pairs.map(([key, value]) => ({ kind: 'value', variables: { key }, payload: Buffer.from(value) }))
    }
    const fields = Object.fromEntries(pairs.map(([key, value]) => [key, typed(value)]))
    return [{ kind: 'value', variables: {}, payload: Buffer.from(JSON.stringify(fields)) }]
  }
}

function faulty(fault: AdapterFault, bytes: Buffer): Decoded {
  return { kind: 'fault', fault, bytes: Buffer.from(bytes) }
}

/** UTF-8 without control characters. */
function isText(line: Buffer): boolean {
  for (const byte of line) if ((byte < 0x20 && byte !== tab) || byte === deleteCharacter) return false
  return isUtf8(line)
}

function isUtf8(line: Buffer): boolean {
  return line.every((byte) => byte < 0x80) || !line.toString('utf8').includes('\ufffd')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return undefined
  }
}

function isObject(value: unknown): value is ObjectLine {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isFramed(text: string): boolean {
  return /^(\[[01],.*\]|\{.*"\s*:.*\})$/.test(text)
}

/** A number where JSON has the same. */
function typed(value: string): string | number {
  const number = Number(value)
  return String(number) === value ? number : value
}

/** Like a topic template, but the values stay as they are. */
function fillLine(template: string, values: Readonly<Record<string, string>>): string {
  return template.replace(/\{(\w+)\}/g, (place, name: string) => values[name] ?? place)
}

const tab = 0x09
const deleteCharacter = 0x7f
