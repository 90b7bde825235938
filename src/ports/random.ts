/** Entropy as a port, so that a seed replays a run. */
export interface Random {
  /** A float in [0, 1). */
  next(): number
  /** `byteCount` unpredictable bytes as lower-case hex. */
  hex(byteCount: number): string
}
