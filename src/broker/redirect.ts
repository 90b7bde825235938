/** Clients that are to go to another server (MQTT 5.0 §4.11): who, when, and the reason they are told. */
import { type Disconnect, PacketType } from '../protocol/packet.ts'
import { ReasonCode } from '../protocol/reason.ts'

export interface Redirect {
  readonly serverReference: string
  /** `shutdown`: those who are here when the broker stops. Else everybody who connects, for now or for good. */
  readonly when: 'shutdown' | 'temporary' | 'permanent'
}

/** What CONNECT is refused with; undefined when it is not, for this reason. */
export function reasonToGoElsewhere(redirect: Redirect | undefined): ReasonCode | undefined {
  if (redirect === undefined || redirect.when === 'shutdown') return undefined
  return redirect.when === 'temporary' ? ReasonCode.useAnotherServer : ReasonCode.serverMoved
}

/** The DISCONNECT of the broker; it never has a Session Expiry Interval [MQTT-3.14.2-2]. */
export function goodbye(reasonCode: ReasonCode, redirect: Redirect | undefined): Disconnect {
  if (reasonCode !== ReasonCode.serverShuttingDown || redirect === undefined) {
    return { type: PacketType.disconnect, reasonCode, properties: undefined }
  }
  const { serverReference } = redirect
  return { type: PacketType.disconnect, reasonCode: ReasonCode.useAnotherServer, properties: { serverReference } }
}
