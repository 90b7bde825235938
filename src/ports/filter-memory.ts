/**
 * What was subscribed to at a remote broker, kept beyond the life of the process.
 *
 * Promises:
 * - `load` gives what the last `save` that succeeded was given, and nothing where there was none.
 * - a save that fails is reported to the log by the adapter and changes nothing: what is lost is only the knowledge
 *   what an earlier run may have left behind at the remote broker.
 */
export interface FilterMemory {
  load(): ReadonlyMap<string, string>
  save(filters: ReadonlyMap<string, string>): void
}
