/**
 * TIDEGATE_ variables: every setting can be given as one, above the file. Two underscores go one table deeper, a
 * number picks an entry of a list: TIDEGATE_MQTT__INFLIGHT_MAX=64, TIDEGATE_LISTENER__0__BIND=127.0.0.1:1883.
 */
import { z } from 'zod'
import type { Failure } from '../lib/errors.ts'
import { formatPath, unknownSetting, unusableSetting } from './complaint.ts'
import { unwrap } from './option.ts'

type Table = Record<string, unknown>

export type Environment = Readonly<Record<string, string | undefined>>

const prefix = 'TIDEGATE_'

/** What Kubernetes sets in every pod beside a service named tidegate; none of it is meant for us. */
const serviceLink = /^TIDEGATE_(SERVICE_HOST|SERVICE_PORT|PORT)(_[^_]|$)/

/** Variables in an order in which entry 10 of a list comes after entry 2. */
const order = new Intl.Collator('en', { numeric: true })

/**
 * Writes the variables of `env` into `table`.
 * @returns the variable that gave each setting, by its path, and what was wrong with others
 */
export function applyEnvironment(schema: z.ZodType, table: Table, env: Environment) {
  const variables = new Map<string, string>()
  const failures: Failure[] = []
  for (const variable of Object.keys(env).sort(order.compare)) {
    if (!variable.startsWith(prefix) || serviceLink.test(variable)) continue
    const path = variable.slice(prefix.length).toLowerCase().split('__')
    const failure = write(schema, table, path, env[variable] ?? '', variable)
    if (failure === undefined) variables.set(formatPath(path), variable)
    else failures.push(failure)
  }
  return { variables, failures }
}

function write(schema: z.ZodType, table: Table, path: string[], text: string, variable: string): Failure | undefined {
  let holder = table
  let node = schema
  for (const [depth, key] of path.entries()) {
    const here = path.slice(0, depth + 1)
    const kind = unwrap(node)
    if (kind instanceof z.ZodArray) {
      const entryCount = (holder as unknown as unknown[]).length
      if (!/^\d+$/.test(key) || Number(key) > entryCount) {
        return unusableSetting(variable, here, text, `an entry 0..${entryCount} of ${formatPath(here.slice(0, -1))}`)
      }
      node = kind.element as z.ZodType
    } else {
      // Below a plain value there is nothing to set.
      const shape: Record<string, z.ZodType> = kind instanceof z.ZodObject ? kind.shape : {}
      const child = Object.hasOwn(shape, key) ? shape[key] : undefined
      if (child === undefined) return unknownSetting(variable, here, Object.keys(shape))
      node = child
    }
    if (depth === path.length - 1) holder[key] = parseText(node, text)
    else holder = enter(holder, key, node)
  }
  return undefined
}

/**
 * The table or list at `key`, made with its default where the file has none. Where a plain value stands instead, the
 * schema or the next key is refused, and it does not matter what is written here.
 */
function enter(holder: Table, key: string, node: z.ZodType): Table {
  const kind = unwrap(node)
  if (!(kind instanceof z.ZodObject || kind instanceof z.ZodArray)) return {}
  holder[key] ??= emptyOf(node)
  const inner = holder[key]
  if (typeof inner === 'object') return inner as Table
  return (kind instanceof z.ZodArray ? [] : {}) as Table
}

/** A list or table that the file does not mention, as it would be without any variable. */
function emptyOf(node: z.ZodType): unknown {
  if (node instanceof z.ZodPrefault) return structuredClone(node.def.defaultValue)
  return unwrap(node) instanceof z.ZodArray ? [] : {}
}

/** Text that is no number or truth value where one belongs stays text, and is refused as such. */
function parseText(node: z.ZodType, text: string): unknown {
  const kind = unwrap(node)
  const isNumeric = kind instanceof z.ZodNumber || kind instanceof z.ZodLiteral
  if (isNumeric && /^[+-]?\d+$/.test(text)) return Number(text)
  if (kind instanceof z.ZodBoolean && (text === 'true' || text === 'false')) return text === 'true'
  return text
}
