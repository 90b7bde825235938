/** Structured log; pino fits it as it is. Fields first, then a constant message that never changes its words. */
export interface Log {
  error(fields: object, message: string): void
  warn(fields: object, message: string): void
  info(fields: object, message: string): void
  debug(fields: object, message: string): void
  child(fields: object): Log
  /** For lines whose fields cost something. */
  isLevelEnabled(level: 'debug'): boolean
}

/** The log of the process, whose level can be changed while it is in use. */
export interface RootLog extends Log {
  /** `error`, `warn`, `info` or `debug`; what is below it is not written. */
  level: string
}
