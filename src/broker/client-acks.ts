/**
 * What a client acknowledges: the messages on their way to it, and with PUBREL those it sent (MQTT 5.0 §4.3). Packet
 * ids that stand for nothing are passed over; an acknowledgement of the wrong kind is a fault.
 */
import { unreachable } from '../lib/assert.ts'
import { PacketFault } from '../protocol/fault.ts'
import { type AckType, PacketType } from '../protocol/packet.ts'
import { ReasonCode } from '../protocol/reason.ts'
import type { Core } from './core.ts'
import type { IncomingPublishes } from './incoming-publishes.ts'
import type { Outbox } from './outbox.ts'
import { SlotState } from './send-window.ts'
import type { Session } from './session.ts'

export class ClientAcks {
  readonly #core: Core
  readonly #outbox: Outbox
  readonly #incoming: IncomingPublishes

  constructor(core: Core, outbox: Outbox, incoming: IncomingPublishes) {
    this.#core = core
    this.#outbox = outbox
    this.#incoming = incoming
  }

  /** @throws PacketFault protocolError */
  receive(type: AckType, packetId: number, reasonCode: ReasonCode, session: Session): void {
    const state = session.window.stateOf(packetId)
    switch (type) {
      case PacketType.puback:
        if (state === SlotState.sentQos1) this.#core.delivery.acknowledged(session, packetId)
        else if (state !== SlotState.free) throw wrongAck('PUBACK for a QoS 2 message')
        return
      case PacketType.pubrec:
        this.#receivePubrec(state, packetId, reasonCode, session)
        return
      case PacketType.pubcomp:
        if (state === SlotState.released) this.#core.delivery.acknowledged(session, packetId)
        else if (state !== SlotState.free) throw wrongAck('PUBCOMP for a message that was not released')
        return
      case PacketType.pubrel:
        this.#incoming.release(packetId, session)
        return
      default:
        unreachable(type)
    }
  }

  #receivePubrec(state: SlotState, packetId: number, reasonCode: ReasonCode, session: Session): void {
    if (state === SlotState.free) {
      if (reasonCode < 0x80) this.#outbox.sendAck(PacketType.pubrel, packetId, ReasonCode.packetIdentifierNotFound)
    } else if (state === SlotState.sentQos1) {
      throw wrongAck('PUBREC for a QoS 1 message')
    } else if (reasonCode >= 0x80) {
      this.#core.delivery.acknowledged(session, packetId)
    } else {
      this.#core.delivery.received(session, packetId)
    }
  }
}

function wrongAck(detail: string): PacketFault {
  return new PacketFault(ReasonCode.protocolError, 'MQTT-3.3.4-1', detail)
}
