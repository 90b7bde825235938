/**
 * What kind of message one is. Lanes share the log and its order; each has room of its own, so that readings never
 * push out commands. Numbers are kept in files and on the wire between brokers: they never change.
 */
export const Lane = { control: 0, event: 1, telemetry: 2, bulk: 3 } as const
export type Lane = (typeof Lane)[keyof typeof Lane]

/** All of them, the most important first. */
export const lanes: readonly Lane[] = [Lane.control, Lane.event, Lane.telemetry, Lane.bulk]

/** By lane. */
export const laneNames = ['control', 'event', 'telemetry', 'bulk'] as const
