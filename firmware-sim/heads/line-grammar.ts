/** What devices print that have no MQTT of their own: one line for each reading, and lines that tell them something. */
import { crc } from '../link-codec.ts'

export interface LineGrammar {
  /** What is said after each boot, without line ends. */
  greeting(commandTopic: string | undefined): readonly string[]
  /** @param payload a message as JSON (oracle/message.ts) */
  reading(topic: string, payload: string): string
  say(topic: string, payload: string): string
  /** What a line from the gateway tells; undefined = nothing for us. */
  told(line: string): { readonly topic: string; readonly payload: string } | undefined
}

/** serial2mqtt: `[1,"topic","payload",qos,retain,"CRC"]`, `[0,"filter"]`; the sum is over the line with "0000" in its place. */
export const jsonLines: LineGrammar = {
  greeting: (commandTopic) => (commandTopic === undefined ? [] : [JSON.stringify([0, commandTopic])]),
  reading: (topic, payload) => withChecksum([1, topic, payload, 1, 0]),
  say: (topic, payload) => withChecksum([1, topic, payload]),
  told: toldByArray,
}

/** An object for each reading. */
export const plainJson: LineGrammar = {
  greeting: () => [],
  reading: (_topic, payload) => payload,
  say: (topic, message) => JSON.stringify({ topic, message }),
  told: toldByArray,
}

/** `device:s1 n:7 d:x1f`: as people print it. */
export const keyValue: LineGrammar = {
  greeting: () => [],
  reading: (_topic, payload) => {
    const pairs = Object.entries(JSON.parse(payload) as Record<string, unknown>)
    return pairs.map(([key, value]) => `${key}:${value}`).join(' ')
  },
  say: (topic, message) => JSON.stringify({ topic, message }),
  told: toldByArray,
}

function withChecksum(items: readonly unknown[]): string {
  const blank = JSON.stringify([...items, '0000'])
  const sum = crc(Buffer.from(blank)).toString(16).toUpperCase().padStart(4, '0')
  return `${blank.slice(0, -6)}${sum}"]`
}

function toldByArray(line: string): { topic: string; payload: string } | undefined {
  if (!line.startsWith('[')) return undefined
  try {
    const [verb, topic, payload] = JSON.parse(line) as unknown[]
    return verb === 1 ? { topic: String(topic), payload: String(payload) } : undefined
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return undefined
  }
}
