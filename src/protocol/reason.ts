/**
 * Reason codes of MQTT 5.0 §2.4, and the 3.1.1 CONNACK return code that each stands for.
 * The broker speaks 5.0 codes throughout; only the codec of CONNACK and SUBACK knows the older numbers.
 */
export const ReasonCode = {
  success: 0x00,
  grantedQos1: 0x01,
  grantedQos2: 0x02,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  continueAuthentication: 0x18,
  reAuthenticate: 0x19,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecificError: 0x83,
  unsupportedProtocolVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdentifierInUse: 0x91,
  packetIdentifierNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  retainNotSupported: 0x9a,
  qosNotSupported: 0x9b,
  useAnotherServer: 0x9c,
  serverMoved: 0x9d,
  sharedSubscriptionsNotSupported: 0x9e,
  connectionRateExceeded: 0x9f,
  maximumConnectTime: 0xa0,
  subscriptionIdentifiersNotSupported: 0xa1,
  wildcardSubscriptionsNotSupported: 0xa2,
} as const
export type ReasonCode = (typeof ReasonCode)[keyof typeof ReasonCode]

/** Reasons of a DISCONNECT that are a server's alone (MQTT 5.0 §3.14.2.1). */
const ofServers: ReadonlySet<ReasonCode> = new Set([
  ReasonCode.notAuthorized,
  ReasonCode.serverBusy,
  ReasonCode.serverShuttingDown,
  ReasonCode.keepAliveTimeout,
  ReasonCode.sessionTakenOver,
  ReasonCode.topicFilterInvalid,
  ReasonCode.retainNotSupported,
  ReasonCode.qosNotSupported,
  ReasonCode.useAnotherServer,
  ReasonCode.serverMoved,
  ReasonCode.sharedSubscriptionsNotSupported,
  ReasonCode.connectionRateExceeded,
  ReasonCode.maximumConnectTime,
  ReasonCode.subscriptionIdentifiersNotSupported,
  ReasonCode.wildcardSubscriptionsNotSupported,
])

/** Whether a DISCONNECT of a client may have this reason. */
export function mayClientSend(code: ReasonCode): boolean {
  return !ofServers.has(code)
}

const names = new Map<number, string>(Object.entries(ReasonCode).map(([name, code]) => [code, name]))

/** `'quotaExceeded'` for 0x97; `'0x42'` for a number that is no reason code. */
export function reasonName(code: number): string {
  return names.get(code) ?? `0x${code.toString(16)}`
}

/** 3.1.1 §3.2.2.3 knows six return codes; a refusal that has none of its own is "server unavailable". */
export function connectReturnCode(code: ReasonCode): number {
  switch (code) {
    case ReasonCode.success:
      return 0
    case ReasonCode.unsupportedProtocolVersion:
      return 1
    case ReasonCode.clientIdentifierNotValid:
      return 2
    case ReasonCode.badUserNameOrPassword:
    case ReasonCode.badAuthenticationMethod:
      return 4
    case ReasonCode.notAuthorized:
    case ReasonCode.banned:
      return 5
    default:
      return 3
  }
}

/** The reverse of `connectReturnCode`, for a client reading a 3.1.1 CONNACK. */
export function reasonOfReturnCode(returnCode: number): ReasonCode | undefined {
  return [
    ReasonCode.success,
    ReasonCode.unsupportedProtocolVersion,
    ReasonCode.clientIdentifierNotValid,
    ReasonCode.serverUnavailable,
    ReasonCode.badUserNameOrPassword,
    ReasonCode.notAuthorized,
  ][returnCode]
}
