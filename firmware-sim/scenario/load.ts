/** Reads a scenario file, and says of everything wrong in it where it stands and what was expected. */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parse, TomlError } from 'smol-toml'
import type { z } from 'zod'
import { type Scenario, scenarioSchema } from './schema.ts'

/** What is wrong with a file, for people: one line each. */
export class ScenarioFault extends Error {
  override readonly name = 'ScenarioFault'
}

/** @throws ScenarioFault */
export function loadScenario(path: string): Scenario {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new ScenarioFault(`${path}: ${error instanceof Error ? error.message : error}`)
  }
  const scenario = parseScenario(text, path)
  for (const { signal } of scenario.group) {
    if (signal?.kind === 'replay') signal.file = resolve(dirname(path), signal.file)
  }
  return scenario
}

/** @param path for messages. @throws ScenarioFault */
export function parseScenario(text: string, path: string): Scenario {
  let given: unknown
  try {
    given = parse(text)
  } catch (error) {
    if (error instanceof TomlError) throw new ScenarioFault(`${path}: ${error.message.trimEnd()}`)
    throw error
  }
  const checked = scenarioSchema.safeParse(given)
  if (checked.success) return checked.data
  throw new ScenarioFault(
    checked.error.issues.map((issue) => `${path}: ${placeOf(issue.path, given)}${issue.message}`).join('\n'),
  )
}

/** `group 2 (meters): rate_per_second: ` for `['group', 1, 'rate_per_second']` */
function placeOf(path: z.core.$ZodIssue['path'], given: unknown): string {
  let at: unknown = given
  let place = ''
  for (const step of path) {
    at = (at as Record<PropertyKey, unknown> | undefined)?.[step]
    if (typeof step !== 'number') place += `${String(step)}: `
    else place = `${place.slice(0, -2)} ${step + 1}${nameOf(at)}: `
  }
  return place
}

function nameOf(entry: unknown): string {
  const { name, kind } = (entry ?? {}) as { name?: unknown; kind?: unknown }
  return name === undefined && kind === undefined ? '' : ` (${name ?? kind})`
}
