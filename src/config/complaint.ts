/**
 * What is wrong with a setting, in one line that names where it was written, its key, its value and what it may be.
 * The line is the whole detail of a Failure with ERR_CONFIG_VALUE.
 */
import { Failure } from '../lib/errors.ts'
import { nearest } from './nearest.ts'

/** Keys from the outermost table inwards; entries of a list count from 0. */
export type Path = readonly PropertyKey[]

/** Tells which file or variable a setting was written in. */
export type SourceOf = (path: Path) => string

const seeReference = 'see configs/reference.md'

export function formatPath(path: Path): string {
  return path.map(String).join('.')
}

/** `mqtt.inflight_max = "many"` */
export function formatSetting(path: Path, value: unknown): string {
  return `${formatPath(path)} = ${formatValue(value)}`
}

export function unknownSetting(source: string, path: Path, knownKeys: readonly string[]): Failure {
  const meant = nearest(String(path.at(-1)), knownKeys)
  const cure = meant === undefined ? seeReference : `did you mean ${meant}?`
  return new Failure('ERR_CONFIG_VALUE', `${source}: unknown setting ${formatPath(path)}; ${cure}`)
}

/** @param expected follows the word "expected" */
export function unusableSetting(source: string, path: Path, value: unknown, expected: string): Failure {
  const setting = value === undefined ? `${formatPath(path)} is missing` : formatSetting(path, value)
  return new Failure('ERR_CONFIG_VALUE', `${source}: ${setting}: expected ${expected}; ${seeReference}`)
}

function formatValue(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  return typeof value === 'object' ? 'a table' : String(value)
}
