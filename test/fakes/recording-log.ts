/** The Log port for tests that read what was logged. */
import { EventEmitter, once } from 'node:events'
import type { Log } from '../../src/ports/log.ts'

export type LogLine = { level: string; fields: Record<string, unknown>; message: string }

export class RecordingLog implements Log {
  readonly lines: LogLine[] = []
  readonly #changes = new EventEmitter()

  error(fields: object, message: string): void {
    this.#add('error', fields, message)
  }

  warn(fields: object, message: string): void {
    this.#add('warn', fields, message)
  }

  info(fields: object, message: string): void {
    this.#add('info', fields, message)
  }

  debug(fields: object, message: string): void {
    this.#add('debug', fields, message)
  }

  /** Lines of the child come here too. */
  child(): Log {
    return this
  }

  isLevelEnabled(): boolean {
    return true
  }

  /** The fields of every line with this message. */
  fieldsOf(message: string): Record<string, unknown>[] {
    return this.lines.filter((line) => line.message === message).map((line) => line.fields)
  }

  /** Resolves when the message was logged `count` times. */
  async until(message: string, count: number): Promise<void> {
    while (this.fieldsOf(message).length < count) await once(this.#changes, 'line')
  }

  #add(level: string, fields: object, message: string): void {
    this.lines.push({ level, fields: { ...fields }, message })
    this.#changes.emit('line')
  }
}
