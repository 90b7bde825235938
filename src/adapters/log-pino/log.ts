/**
 * The Log port on pino. Logs go to stderr, so that stdout stays for what a command answers: JSON lines for programs,
 * one readable line for a person at a terminal. Nothing is buffered and no worker thread is involved.
 */
import { createRequire } from 'node:module'
import { isatty } from 'node:tty'
import type { LoggerOptions } from 'pino'
import { Failure } from '../../lib/errors.ts'
import type { RootLog } from '../../ports/log.ts'
import { humanLine } from './human-line.ts'
import { LineSink } from './line-sink.ts'
import { redactedPaths } from './redact.ts'

// Loaded as the CommonJS module that it is: importing it would cost megabytes for finding out its exports.
const { pino, stdSerializers, stdTimeFunctions } = createRequire(import.meta.url)('pino') as typeof import('pino')

export type LogLevel = 'error' | 'warn' | 'info' | 'debug'

export interface LogDestination {
  readonly fd: number
  /** One readable line instead of JSON. */
  readonly isForPeople: boolean
}

/** `process.stderr` would make a pipe non-blocking just by being asked. */
function standardError(): LogDestination {
  return { fd: 2, isForPeople: isatty(2) }
}

/** @param level the least important kind of line that is written */
export function createLog(level: LogLevel, destination: LogDestination = standardError()): RootLog & { flush(): void } {
  const options: LoggerOptions = {
    level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: serializeError },
    redact: { paths: [...redactedPaths], censor: '[redacted]' },
  }
  return pino(options, new LineSink(destination.fd, destination.isForPeople ? humanLine : (json) => json))
}

/** A failure is expected: its code and causes say everything. Anything else is a bug and needs its stack. */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Failure)) return error instanceof Error ? stdSerializers.err(error) : error
  const cause = error.cause instanceof Error ? { cause: error.cause.message } : {}
  return { code: error.code, message: error.message, ...cause }
}
