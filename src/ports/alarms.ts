/**
 * What is wrong and wants somebody's attention: raised when it begins, cleared when it is over. Names are kept where
 * users know them from EMQX.
 */
export interface AlarmBoard {
  /** Raising what is raised already brings message and details up to date, and is told to nobody. */
  raise(name: string, message: string, details: object): void
  /** Of what was not raised this does nothing. */
  clear(name: string): void
}

export interface Alarm {
  /** @example 'disk_full', 'resource:bridge:cloud' */
  readonly name: string
  /** One line for people. */
  readonly message: string
  readonly details: object
  /** Wall clock, for people, in ms since 1970. */
  readonly startedAtMs: number
  /** undefined while it lasts. */
  readonly endedAtMs: number | undefined
}

export interface AlarmList {
  /** Oldest first. */
  readonly active: readonly Alarm[]
  /** Latest first. */
  readonly ended: readonly Alarm[]
}
