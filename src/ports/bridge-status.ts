/** How a bridge is, as it is shown (bridge/monitor.ts). */

/** What each means stands in bridge/health.ts. */
export type HealthState = 'ok' | 'degraded' | 'stuck' | 'lying' | 'offline'

export interface BridgeStatus {
  readonly name: string
  readonly health: HealthState
  /** Of its connection. */
  readonly state: string
  /** Messages in the log that the remote broker has not acknowledged: an upper bound. */
  readonly backlogCount: number
  readonly backlogByLane: Readonly<Record<string, number>>
  readonly backlogBytes: number
  /** How long the oldest of them has waited. */
  readonly oldestMs: number
  /** null = not known yet, or never at this rate. */
  readonly timeToEmptyMs: number | null
  readonly forwardedCount: number
  readonly receivedCount: number
  /** Retained topics that were found to differ after a time apart, and went up, or came down. */
  readonly retainedSentCount: number
  readonly retainedReceivedCount: number
  /** Messages that had been here or gone round, and ended here. */
  readonly loopedCount: number
  /** Messages the remote broker will not have, whatever we do. */
  readonly rejectedCount: number
  readonly underWayCount: number
  readonly roundTripMs: number
  /** The last probe, through the commit of the remote side; null before it and towards other brokers. */
  readonly commitMs: number | null
  /** On the wire in the last 24 hours, both ways. */
  readonly bytesPerDay: number
}
