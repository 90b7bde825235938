/**
 * House rules that no tool checks: sizes, names, clause tags, generated files. Each rule answers with offences, and
 * each is tried on a file that breaks it, so that a rule that sleeps is noticed.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { generatedFiles } from '../../src/config/reference.ts'
import { ERRORS } from '../../src/lib/errors.ts'
import { matrix, matrixPath } from '../conformance/matrix.ts'

type File = { readonly path: string; readonly text: string }
type Rule = {
  readonly title: string
  /** One line for each place that breaks the rule. */
  readonly offences: (files: readonly File[]) => string[]
  /** Breaks the rule, all by itself. */
  readonly planted: File
}

const linesSoft = 400
const linesHard = 600
const emptyWords = ['manager', 'helper', 'helpers', 'util', 'utils', 'data', 'info']
const emptyVerbs = ['process', 'do']
const documentedFolders = ['src', 'edge', 'cloud', 'firmware-sim', 'test']

/** Written so that this file does not break the rule itself. */
const leftovers = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX'].join('|')})\\b`)
const machinePaths = new RegExp(
  `(^|[^\\w./-])/(${['ho' + 'me/\\w', 'ro' + 'ot/', 'wo' + 'rk/', 'Us' + 'ers/'].join('|')})`,
)

const clauseTag = /\[MQTT3?-\d+\.\d+\.\d+-\d+\]/g

const rules: readonly Rule[] = [
  {
    title: `no source file is longer than ${linesHard} lines`,
    offences: (files) =>
      files
        .filter(isSource)
        .filter((file) => lineCount(file) > linesHard)
        .map(sizeOf),
    planted: { path: 'src/lib/long.ts', text: '\n'.repeat(linesHard + 1) },
  },
  {
    title: 'file names are in kebab case',
    offences: (files) =>
      files.filter(isCode).flatMap(({ path }) => {
        return /^[a-z0-9]+(-[a-z0-9]+)*(\.(test|bench))?\.(ts|mjs)$/.test(basename(path)) ? [] : [path]
      }),
    planted: { path: 'src/lib/RingQueue.ts', text: '' },
  },
  {
    title: 'nothing is left for later',
    offences: matching(() => true, leftovers),
    planted: { path: 'docs/a.md', text: `${'TO' + 'DO'}: write this` },
  },
  {
    title: 'nothing depends on where somebody works',
    offences: matching(() => true, machinePaths),
    planted: { path: 'configs/a.toml', text: `path = "/${'ho' + 'me'}/me/certs"` },
  },
  {
    title: 'exported names have no empty words',
    offences: (files) => files.filter(isSource).flatMap((file) => exportedNames(file).filter(isEmptyName)),
    planted: { path: 'src/lib/a.ts', text: 'export class SessionManager {}' },
  },
  {
    title: 'errors are failures, faults or assertions',
    offences: matching((file) => isShipped(file) && !file.path.startsWith('src/lib/'), /\bnew Error\(/),
    planted: { path: 'src/broker/a.ts', text: 'throw new Error("disk full")' },
  },
  {
    title: 'clause tags are well formed',
    offences: matching(isSource, /\[~?!?MQTT(?!3?-\d+\.\d+\.\d+-\d+\])/),
    planted: { path: 'src/broker/a.ts', text: 'ack() // [MQTT-4.3.2]' },
  },
  {
    title: 'every clause that the source obeys stands in a test title',
    offences: (files) => {
      const tests = files
        .filter(isTest)
        .map((file) => file.text)
        .join('\n')
      const tags = files.filter(isShipped).flatMap((file) => file.text.match(clauseTag) ?? [])
      return [...new Set(tags)].filter((tag) => !tests.includes(tag)).sort()
    },
    planted: { path: 'src/broker/a.ts', text: 'ack() // [MQTT-4.3.2-4]' },
  },
  {
    title: 'every error code is used',
    offences: (files) => {
      const source = files.filter(isShipped).filter((file) => file.path !== 'src/lib/errors.ts')
      return Object.keys(ERRORS).filter((code) => !source.some((file) => file.text.includes(`'${code}'`)))
    },
    planted: { path: 'src/lib/errors.ts', text: '' },
  },
]

const files = readFiles()

for (const { title, offences, planted } of rules) {
  t.test(title, (t) => {
    t.strictSame(offences(files), [])
    t.not(offences([planted]).length, 0, 'sees a file that breaks it')
    t.end()
  })
}

t.test('generated files are fresh: npm run docs', (t) => {
  for (const [path, content] of Object.entries({ ...generatedFiles(), [matrixPath]: matrix() })) {
    t.equal(files.find((file) => file.path === path)?.text, content, path)
  }
  t.end()
})

t.test('every top-level folder says what it is', (t) => {
  for (const folder of documentedFolders) t.ok(existsSync(fromRoot(`${folder}/README.md`)), `${folder}/README.md`)
  t.end()
})

const large = files.filter(isSource).filter((file) => lineCount(file) > linesSoft)
if (large.length > 0) t.comment(`over ${linesSoft} lines: ${large.map(sizeOf).join(', ')}`)

function fromRoot(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url))
}

/** Everything that people write, of the whole project. */
function readFiles(): File[] {
  const folders = ['src', 'edge', 'cloud', 'firmware-sim', 'test', 'configs', 'docs', '.ci']
  const below = folders.flatMap((folder) => filesBelow(folder))
  const top = readdirSync(fromRoot('.'), { withFileTypes: true })
  const beside = top.filter((entry) => entry.isFile() && /\.(md|m?js|json)$/.test(entry.name)).map(({ name }) => name)
  return [...below, ...beside]
    .filter((path) => path !== 'package-lock.json')
    .map((path) => ({ path, text: readFileSync(fromRoot(path), 'utf8') }))
}

function filesBelow(folder: string): string[] {
  if (!existsSync(fromRoot(folder))) return []
  return readdirSync(fromRoot(folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    return entry.isDirectory() ? filesBelow(path) : [path]
  })
}

function matching(applies: (file: File) => boolean, pattern: RegExp): Rule['offences'] {
  return (files) =>
    files
      .filter(applies)
      .flatMap(({ path, text }) =>
        text.split('\n').flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
      )
}

function isCode({ path }: File): boolean {
  return /\.(ts|mjs)$/.test(path) && !path.startsWith('.')
}

function isTest(file: File): boolean {
  return isCode(file) && file.path.startsWith('test/')
}

function isSource(file: File): boolean {
  return isCode(file) && !isTest(file)
}

function isShipped({ path }: File): boolean {
  return /^(src|edge|cloud)\/.*\.ts$/.test(path)
}

function lineCount({ text }: File): number {
  return text.split('\n').length - 1
}

function sizeOf(file: File): string {
  return `${file.path} ${lineCount(file)}`
}

function exportedNames({ text }: File): string[] {
  const declaration = /^export (?:abstract |async )*(?:function\*?|class|const|let|type|interface) (\w+)/gm
  return [...text.matchAll(declaration)].map((match) => match[1] as string)
}

/** @example isEmptyName('SessionManager') // true */
function isEmptyName(name: string): boolean {
  const words = name.split(/(?=[A-Z])|_/)
  return words.some((word) => emptyWords.includes(word.toLowerCase())) || emptyVerbs.includes(words[0] ?? '')
}
