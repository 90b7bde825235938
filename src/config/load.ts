/**
 * From file and environment to Settings, or to everything that is wrong with them at once:
 * TOML -> TIDEGATE_ variables -> schema -> rules between settings -> Settings.
 */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parse, TomlError } from 'smol-toml'
import { z } from 'zod'
import { Failure } from '../lib/errors.ts'
import { err, ok, type Result } from '../lib/result.ts'
import { formatPath, type Path, type SourceOf, unknownSetting, unusableSetting } from './complaint.ts'
import { applyEnvironment, type Environment } from './environment.ts'
import { expectation, type Profile, unwrap } from './option.ts'
import { brokenRules } from './rules.ts'
import { settingsSchema } from './schema.ts'
import { type Settings, toSettings } from './settings.ts'

type Table = Record<string, unknown>

/**
 * @param path of the TOML file; undefined = the defaults of the profile
 * @param env where TIDEGATE_ variables are looked up
 */
export function loadSettings(
  profile: Profile,
  path: string | undefined,
  env: Environment,
): Result<Settings, readonly Failure[]> {
  const file = path === undefined ? ok<Table>({}) : readTable(path)
  if (!file.ok) return err([file.error])

  const schema = settingsSchema(profile)
  const table = file.value
  const { variables, failures } = applyEnvironment(schema, table, env)
  const sourceOf: SourceOf = (at) => variables.get(formatPath(at)) ?? path ?? 'the defaults'

  const parsed = schema.safeParse(table)
  if (!parsed.success) {
    return err([...failures, ...parsed.error.issues.flatMap((issue) => complaints(schema, table, issue, sourceOf))])
  }
  const folder = path === undefined ? '.' : dirname(path)
  failures.push(...brokenRules(parsed.data, sourceOf, (name) => resolve(folder, name)))
  return failures.length > 0 ? err(failures) : ok(toSettings(parsed.data, path))
}

function readTable(path: string): Result<Table, Failure> {
  let source: string
  try {
    source = readFileSync(path, 'utf8')
  } catch (error) {
    return err(new Failure('ERR_CONFIG_READ', `${path} (${(error as NodeJS.ErrnoException).code})`, error))
  }
  try {
    return ok(parse(source))
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const reason = (error.message.split('\n')[0] as string).replace(/^Invalid TOML document: /, '')
    return err(new Failure('ERR_CONFIG_SYNTAX', `${path}:${error.line}:${error.column}: ${reason}`, error))
  }
}

function complaints(schema: z.ZodType, table: Table, issue: z.core.$ZodIssue, sourceOf: SourceOf): Failure[] {
  const node = schemaAt(schema, issue.path)
  if (issue.code !== 'unrecognized_keys') {
    return [
      unusableSetting(sourceOf(issue.path), issue.path, valueAt(table, issue.path), expectation(node, issue.path)),
    ]
  }
  const kind = unwrap(node)
  const knownKeys = kind instanceof z.ZodObject ? Object.keys(kind.shape) : []
  return issue.keys.map((key) => {
    const path = [...issue.path, key]
    return unknownSetting(sourceOf(path), path, knownKeys)
  })
}

function schemaAt(schema: z.ZodType, path: Path): z.ZodType {
  return path.reduce<z.ZodType>((node, key) => {
    const kind = unwrap(node)
    if (kind instanceof z.ZodArray) return kind.element as z.ZodType
    return kind instanceof z.ZodObject ? kind.shape[key as string] : node
  }, schema)
}

function valueAt(table: Table, path: Path): unknown {
  return path.reduce<unknown>((value, key) => (value as Table)[key as string], table)
}
