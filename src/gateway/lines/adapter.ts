/**
 * What turns the bytes of a device that speaks no MQTT into messages and back. One adapter is one protocol on one
 * port; adapter-head.ts runs it: opens the port's connection to the broker, fills in topics, writes what goes down.
 */
import type { Qos } from '../../protocol/packet.ts'

/** What a piece of the line meant. Payloads and texts are copies. */
export type Decoded =
  /** The device names the topic itself. */
  | {
      readonly kind: 'message'
      readonly topic: string
      readonly payload: Buffer
      readonly qos: Qos
      readonly retain: boolean
    }
  /** The topic comes from the template of the port: `variables` fill its `{…}`. */
  | { readonly kind: 'value'; readonly variables: Readonly<Record<string, string>>; readonly payload: Buffer }
  | { readonly kind: 'subscribe'; readonly topicFilter: string }
  /** Text for people. */
  | { readonly kind: 'log'; readonly text: Buffer }
  /** Bytes without a meaning; some were perhaps a message once. */
  | { readonly kind: 'fault'; readonly fault: AdapterFault; readonly bytes: Buffer }

/** `overlong`: no end within the limit; `garbage`: not text; `checksum`; `grammar`: a message that cannot be one. */
export type AdapterFault = 'overlong' | 'garbage' | 'checksum' | 'grammar'

/**
 * Promises:
 * - `decode` takes time linear in its input, and holds a bounded number of bytes between calls.
 * - after any garbage, the second whole unit is understood.
 */
export interface SerialAdapter {
  /** `chunk` is borrowed. */
  decode(chunk: Buffer): readonly Decoded[]
  /** Nothing came for the idle time of the port: what is held is whole, if it ever will be. */
  idle(): readonly Decoded[]
  /** The line was opened anew. */
  clear(): void
  /** What the device is sent for a message; undefined when it cannot be told. */
  encode(topic: string, payload: Buffer, qos: Qos, retain: boolean): Buffer | undefined
}
