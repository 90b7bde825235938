/**
 * A Will Message between CONNECT and its end: dropped by a normal DISCONNECT, published when the connection ends
 * otherwise, after its delay or when the session ends, whichever comes first (MQTT 5.0 §3.1.2.5, §3.1.3.2.2).
 *
 *   armed --connection lost--> due at t --t reached / session ends--> published
 *     |                            |
 *     +--DISCONNECT 0x00--> none <-+--the client is back
 *     |                       ^
 *     +--taken over by a connection that goes on with the session, if it has a delay
 */
import { WheelTimer } from '../lib/timer-wheel.ts'
import type { WillRecord } from '../ports/store.ts'
import type { Will } from '../protocol/packet.ts'
import { Publish } from '../protocol/packets/publish.ts'

export class PendingWill {
  readonly message: Publish
  readonly delaySeconds: number
  /** undefined while the connection is open. */
  dueAtMs: number | undefined
  readonly timer: WheelTimer

  constructor(message: Publish, delaySeconds: number, onDue: () => void) {
    this.message = message
    this.delaySeconds = delaySeconds
    this.timer = new WheelTimer(onDue)
  }

  toRecord(): WillRecord {
    return { message: this.message, delaySeconds: this.delaySeconds, dueAtMs: this.dueAtMs }
  }
}

/** The message that a will becomes, and how long after the connection it may wait. */
export function messageOfWill(will: Will, topic: string): { message: Publish; delaySeconds: number } {
  const { willDelayInterval, ...properties } = will.properties ?? {}
  const message = Publish.create({
    topic,
    payload: will.payload,
    qos: will.qos,
    retain: will.retain,
    properties: Object.keys(properties).length === 0 ? undefined : properties,
  })
  return { message, delaySeconds: willDelayInterval ?? 0 }
}
