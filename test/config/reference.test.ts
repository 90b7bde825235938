import { readFileSync } from 'node:fs'
import { parse } from 'smol-toml'
import t from 'tap'
import { z } from 'zod'
import { unwrap } from '../../src/config/option.ts'
import { generatedFiles } from '../../src/config/reference.ts'
import { settingsSchema } from '../../src/config/schema.ts'

const generated = generatedFiles()

t.test('the reference describes every setting', (t) => {
  const reference = generated['configs/reference.md'] ?? ''
  for (const [path, schema] of everySetting(settingsSchema('edge'), [])) {
    const key = path.at(-1) as string
    t.match(reference, `| \`${key}\` |`, path.join('.'))
    t.match(schema.description, /\S.*\.$/, `${path.join('.')} has a description`)
  }
  t.end()
})

t.test('the JSON Schema knows exactly the keys of the settings, in every table', (t) => {
  const json = JSON.parse(generated['configs/schema.json'] ?? '{}')
  const listener = json.properties.listener.items
  t.equal(json.additionalProperties, false)
  t.equal(listener.additionalProperties, false)
  t.strictSame(listener.required, ['type', 'bind'])
  for (const profile of ['edge', 'cloud']) {
    const keys = Object.keys(parse(readFileSync(`configs/${profile}.toml`, 'utf8')))
    for (const key of keys) t.ok(key in json.properties, key)
  }
  t.end()
})

function everySetting(schema: z.ZodType, path: string[]): [string[], z.ZodType][] {
  const kind = unwrap(schema)
  if (kind instanceof z.ZodArray && unwrap(kind.element as z.ZodType) instanceof z.ZodObject) {
    return everySetting(kind.element as z.ZodType, path)
  }
  if (!(kind instanceof z.ZodObject)) return [[path, schema]]
  return Object.entries(kind.shape as Record<string, z.ZodType>).flatMap(([key, inner]) =>
    everySetting(inner, [...path, key]),
  )
}
