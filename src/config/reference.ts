/**
 * Writes configs/reference.md and configs/schema.json from the schema: `npm run docs`. The tidy test compares what
 * is there with what this gives.
 */
import { writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { stringify } from 'smol-toml'
import { z } from 'zod'
import { defaultText, expectation, unwrap } from './option.ts'
import { settingsSchema } from './schema.ts'

/** Path from the root of the project -> content. */
export function generatedFiles(): Record<string, string> {
  return { 'configs/reference.md': reference(), 'configs/schema.json': jsonSchema() }
}

type Shape = Record<string, z.ZodType>

const introduction = `# Settings

Generated from src/config/schema.ts by \`npm run docs\`.

A setting is looked up in this order: a \`TIDEGATE_\` variable, the file given with \`--config\`, the default of the
profile (\`tidegate edge\` or \`tidegate cloud\`). A variable is named after the path of the setting, with two underscores
for each step down and a number for an entry of a list:

| in the file | as a variable |
| --- | --- |
| \`name = "gateway-1"\` | \`TIDEGATE_NAME=gateway-1\` |
| \`inflight_max = 64\` under \`[mqtt]\` | \`TIDEGATE_MQTT__INFLIGHT_MAX=64\` |
| \`bind = "127.0.0.1:1883"\` in the first \`[[listener]]\` | \`TIDEGATE_LISTENER__0__BIND=127.0.0.1:1883\` |

An unknown key or variable is an error. Names of certificate files are relative to the configuration file.
Where the profiles differ, the default of the edge stands first.
`

function reference(): string {
  const edge = shapeOf(settingsSchema('edge'))
  const cloud = shapeOf(settingsSchema('cloud'))
  return introduction + sections(edge, cloud, [], '')
}

/** One heading with its table, then the tables below it. */
function sections(edge: Shape, cloud: Shape, path: string[], about: string): string {
  const rows: string[] = []
  const below: string[] = []
  for (const [key, schema] of Object.entries(edge)) {
    const twin = cloud[key] ?? schema
    const inner = shapeOf(schema)
    const here = [...path, key]
    if (Object.keys(inner).length > 0) below.push(sections(inner, shapeOf(twin), here, aboutTable(schema, twin, here)))
    else rows.push(row(key, schema, twin, here))
  }
  const table = ['| setting | takes | default | |', '| --- | --- | --- | --- |', ...rows].join('\n')
  return `${[about, table].join('\n')}\n${below.join('')}`
}

function aboutTable(schema: z.ZodType, twin: z.ZodType, path: string[]): string {
  const heading = path.join('.')
  if (!(unwrap(schema) instanceof z.ZodArray)) return `\n## [${heading}]\n\n${schema.description}\n`
  const [ofEdge, ofCloud] = [builtIn(schema, heading), builtIn(twin, heading)]
  const toml = ofEdge === ofCloud ? ofEdge : `# tidegate edge\n${ofEdge}\n# tidegate cloud\n${ofCloud}`
  const byDefault = toml === '' ? ' none.' : `\n\n\`\`\`toml\n${toml}\`\`\``
  return `\n## [[${heading}]]\n\n${schema.description} Default:${byDefault}\n`
}

function row(key: string, schema: z.ZodType, twin: z.ZodType, path: string[]): string {
  const cells = [`\`${key}\``, expectation(schema, path), defaults(schema, twin).join(' / '), schema.description ?? '']
  return `| ${cells.join(' | ')} |`
}

/** The entries that a list has by default, as TOML. */
function builtIn(schema: z.ZodType, heading: string): string {
  const entries = schema instanceof z.ZodPrefault ? (schema.def.defaultValue as unknown[]) : []
  return entries.map((entry) => `[[${heading}]]\n${stringify(entry)}`).join('\n')
}

/** One text, or that of the edge and that of the cloud. */
function defaults(schema: z.ZodType, twin: z.ZodType): string[] {
  return [...new Set([defaultText(schema) ?? 'must be given', defaultText(twin) ?? 'must be given'])]
}

/** The settings inside a table or inside each entry of a list; empty for a plain value. */
function shapeOf(schema: z.ZodType): Shape {
  const kind = unwrap(schema)
  if (kind instanceof z.ZodArray) return shapeOf(kind.element as z.ZodType)
  return kind instanceof z.ZodObject ? kind.shape : {}
}

/** For editors, which know no profile: defaults stay in the reference. */
function jsonSchema(): string {
  const schema = z.toJSONSchema(settingsSchema('edge'), {
    io: 'input',
    override: ({ jsonSchema }) => {
      delete jsonSchema.default
    },
  })
  return `${JSON.stringify({ title: 'Tidegate settings', ...schema }, null, 2)}\n`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const [path, content] of Object.entries(generatedFiles())) {
    writeFileSync(new URL(`../../${path}`, import.meta.url), content)
  }
}
