/**
 * The peer broke the protocol. The only thing this folder throws; from decode.ts on it is a value. Normative
 * statements are named as in MQTT 5.0 also where an earlier version is spoken, and with `MQTT3-` before those that
 * only 3.1.1 has.
 */
import { ReasonCode } from './reason.ts'

export class PacketFault extends Error {
  override readonly name = 'PacketFault'
  readonly reasonCode: ReasonCode
  /** Normative statement that was broken, `MQTT-3.3.1-4`; empty where the text has no number. */
  readonly clause: string

  /** @param detail what was wrong, in words for the log; never payload bytes */
  constructor(reasonCode: ReasonCode, clause: string, detail: string) {
    super(detail)
    this.reasonCode = reasonCode
    this.clause = clause
  }
}

/** The packet cannot be read as the specification has it. @example throw malformed('', 'packet cut short') */
export function malformed(clause: string, detail: string): PacketFault {
  return new PacketFault(ReasonCode.malformedPacket, clause, detail)
}

/** The packet can be read, and says what it must not. @example throw protocolError('MQTT-3.1.0-2', 'second CONNECT') */
export function protocolError(clause: string, detail: string): PacketFault {
  return new PacketFault(ReasonCode.protocolError, clause, detail)
}
