/** What the broker counts, as plain numbers: incremented in place, read when somebody asks. */
export class Counters {
  connectionCount = 0
  sessionCount = 0
  connectAccepted = 0
  connectRefused = 0
  /** Peers that a listener refused before their first byte: over its limits, without a certificate and the like. */
  linksRefused = 0
  receivedMessages = 0
  receivedBytes = 0
  sentMessages = 0
  sentBytes = 0
  storedMessages = 0
  faults = 0
  keepAliveTimeouts = 0
  takeovers = 0
  willsPublished = 0
  /** Messages that wait for their time now, and all that ever did. */
  delayedCount = 0
  delayedMessages = 0
  /** Messages that were delivered but not retained, because the table is full. */
  retainedRefused = 0
  /** Every message that was not delivered although a subscription matched, by reason. */
  readonly dropped = {
    /** QoS 0 for a client whose link is full, or for a group of which nobody can take it. */
    linkFull: 0,
    /** QoS >= 1 for a client without a durable session that has too many waiting. */
    queueFull: 0,
    /** Over the bounds of the queue of a durable session. */
    sessionQueueFull: 0,
    /** In the log for longer than the queue of the session allows. */
    tooOld: 0,
    /** Of those that waited, not the newest of its topic or not the sample. */
    thinned: 0,
    /** Larger than the client's Maximum Packet Size. */
    tooLarge: 0,
    expired: 0,
    /** QoS 2 of a group, begun with a member whose session ended: it may not go to another one. */
    shareMemberGone: 0,
    /** QoS 0 for a durable session whose client is away. */
    offlineQos0: 0,
    /** The publisher may not publish there. */
    notAuthorized: 0,
    /** Taken out of the log, oldest first, because it was over its bounds. */
    backlogFull: 0,
    /** Refused, or taken and not stored, because their lane of the log was full. */
    laneFull: 0,
    /** Delayed messages refused: malformed, or too many. */
    delayedRefused: 0,
    /** QoS >= 1 refused because the store cannot be written. */
    storeFailed: 0,
  }
  /** Numbered messages of gateways that were here already. */
  duplicatesRecognised = 0

  /** All of `dropped` together. */
  get droppedMessages(): number {
    let sum = 0
    for (const count of Object.values(this.dropped)) sum += count
    return sum
  }
}
