/**
 * Which test shows which normative statement: docs/conformance.md, written by `npm run docs`. A test shows a statement
 * when its title, or that of its fixture, carries the tag.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import type { Excuse, Statement } from './statement.ts'
import { statements5 } from './statements-5.ts'
import { statements311 } from './statements-311.ts'

export const matrixPath = 'docs/conformance.md'

const root = new URL('../../', import.meta.url)
const tagged = /(['`])((?:(?!\1)[^\\\n]|\\.)*\[MQTT3?-\d+\.\d+\.\d+-\d+\](?:(?!\1)[^\\\n]|\\.)*)\1/g
const tagPattern = /\[(MQTT3?-\d+\.\d+\.\d+-\d+)\]/g

type Test = { readonly file: string; readonly title: string }

/** Tag -> the tests whose titles carry it. */
export type Coverage = ReadonlyMap<string, readonly Test[]>

export type Row = {
  readonly tag: string
  readonly words: string
  readonly tests: readonly Test[]
  readonly excuse: Excuse | undefined
}

export function readCoverage(): Coverage {
  const coverage = new Map<string, Test[]>()
  for (const file of testFiles()) {
    // The statements themselves, and what is planted for the tidy test, show nothing.
    if (/^test\/(conformance\/(statement|matrix)|tidy\/)/.test(file)) continue
    for (const [, , title = ''] of readFileSync(new URL(file, root), 'utf8').matchAll(tagged)) {
      for (const [, tag = ''] of title.matchAll(tagPattern)) {
        const tests = coverage.get(tag) ?? []
        tests.push({
          file,
          title: title.replaceAll(tagPattern, '').replaceAll(/\s+/g, ' ').replaceAll(' ,', ',').trim(),
        })
        coverage.set(tag, tests)
      }
    }
  }
  return coverage
}

export function rows(coverage: Coverage): { v5: Row[]; v311: Row[] } {
  return { v5: rowsOf(statements5, 'MQTT', coverage), v311: rowsOf(statements311, 'MQTT3', coverage) }
}

/** Tags in test titles that no specification has. */
export function strayTags(coverage: Coverage): string[] {
  const known = new Set([...tagsOf(statements5, 'MQTT'), ...tagsOf(statements311, 'MQTT3')])
  return [...coverage.keys()].filter((tag) => !known.has(tag))
}

export function tagsOf(statements: readonly Statement[], prefix: string): string[] {
  return statements.map(([number]) => `${prefix}-${number}`)
}

function rowsOf(statements: readonly Statement[], prefix: string, coverage: Coverage): Row[] {
  return statements.map(([number, words, excuse]) => {
    const tag = `${prefix}-${number}`
    return { tag, words, tests: coverage.get(tag) ?? [], excuse }
  })
}

/** Nothing shows it, and nothing says why. */
export function isBare(row: Row, coverage: Coverage): boolean {
  if (row.tests.length > 0 || typeof row.excuse === 'string') return false
  if (row.excuse === undefined) return true
  return row.excuse.same.some((number) => {
    const [, , excuse] = statements5.find(([candidate]) => candidate === number) ?? []
    return !coverage.has(`MQTT-${number}`) && typeof excuse !== 'string'
  })
}

export function matrix(): string {
  const coverage = readCoverage()
  const { v5, v311 } = rows(coverage)
  return `# Conformance

Generated from test/conformance by \`npm run docs\`. Each normative statement of the specifications, in few words of our
own, with the tests whose titles carry its tag. Statements of MQTT 3.1.1 have the prefix \`MQTT3\`; most say what one of
5.0 says, and its tests run in both versions or below the version.

${summary('MQTT 5.0', v5)}
${summary('MQTT 3.1.1', v311)}
## MQTT 5.0

${table(v5)}
## MQTT 3.1.1

${table(v311)}`
}

function summary(name: string, of: readonly Row[]): string {
  const tested = of.filter(({ tests }) => tests.length > 0).length
  const same = of.filter(({ tests, excuse }) => tests.length === 0 && typeof excuse === 'object').length
  return `- ${name}: ${of.length} statements; ${tested} with tests of their own, ${same} as in 5.0, ${of.length - tested - same} without a test, each with its reason\n`
}

function table(of: readonly Row[]): string {
  const lines = of.map((row) => `| ${row.tag} | ${row.words} | ${shown(row)} |`)
  return `${['| statement | | shown by |', '| --- | --- | --- |', ...lines].join('\n')}\n`
}

function shown({ tests, excuse }: Row): string {
  const parts = tests.map(({ file, title }) => `${title.replaceAll('|', '\\|')} (${file.replace('test/', '')})`)
  if (tests.length === 0 && typeof excuse === 'object')
    parts.push(`as ${excuse.same.map((number) => `MQTT-${number}`).join(', ')}`)
  if (tests.length === 0 && typeof excuse === 'string') parts.push(`*${excuse}*`)
  return [...new Set(parts)].join('<br>')
}

function testFiles(): string[] {
  return readdirSync(new URL('test/', root), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.includes('node_modules'))
    .map((name) => `test/${name.replaceAll('\\', '/')}`)
    .sort()
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  writeFileSync(new URL(matrixPath, root), matrix())
}
