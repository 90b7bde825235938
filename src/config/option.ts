/**
 * What one setting is made of: a type that says in words what it takes, a default, and a description. Everything a
 * person reads about a setting (error lines, configs/reference.md, configs/schema.json) comes from here, and
 * everything the program reads (types, checks, defaults) as well.
 *
 * Built once per profile, because defaults differ between `edge` and `cloud`.
 */
import { z } from 'zod'
import { must } from '../lib/assert.ts'
import { parseAddress, parseBind } from './address.ts'

export type Profile = 'edge' | 'cloud'

/** Beside the schema: what it takes, and how a default that is worked out at start reads in the reference. */
type Note = { readonly expected?: string; readonly defaultText?: string }
const notes = z.registry<Note>()

/** An option with a default, which is checked like any other value. */
export function option<T extends z.ZodType>(type: T, defaultValue: z.input<T>, description: string): z.ZodPrefault<T> {
  return type.prefault(defaultValue as z.core.util.NoUndefined<z.input<T>>).describe(description)
}

/** An option that is absent unless given; `defaultText` says what happens then. */
export function optional<T extends z.ZodType>(type: T, defaultText: string, description: string): z.ZodOptional<T> {
  const schema = type.optional().describe(description)
  notes.add<z.ZodType>(schema, { defaultText })
  return schema
}

export function required<T extends z.ZodType>(type: T, description: string): T {
  return type.describe(description)
}

export function wholeNumber(min: number, max: number, unit?: 'bytes' | 'seconds' | 'milliseconds') {
  const what = unit === undefined ? 'a whole number' : `a whole number of ${unit}`
  return z
    .int()
    .min(min)
    .max(max)
    .register(notes, { expected: `${what} ${min}..${max}` })
}

export function flag() {
  return z.boolean().register(notes, { expected: 'true or false' })
}

export function choice<const T extends readonly string[]>(values: T) {
  const words = values.map((value) => `"${value}"`)
  return z.enum(values).register(notes, { expected: `${words.slice(0, -1).join(', ')} or ${words.at(-1)}` })
}

export function qos() {
  return z.literal([0, 1, 2]).register(notes, { expected: '0, 1 or 2' })
}

/** @param expected how a person would say what `pattern` accepts */
export function text(expected: string, pattern = /./s) {
  return z.string().regex(pattern).register(notes, { expected })
}

export function name() {
  return text('a name of letters, digits, dots, dashes and underscores', /^[\w.-]{1,64}$/)
}

export function path() {
  return text('a path')
}

export function bind() {
  return z
    .string()
    .refine((value) => parseBind(value) !== undefined)
    .transform((value) => must(parseBind(value), 'checked bind'))
    .register(notes, { expected: 'host:port, such as 127.0.0.1:1883 or [::1]:1883, or unix:path' })
}

export function address() {
  return z
    .string()
    .refine((value) => parseAddress(value) !== undefined)
    .transform((value) => must(parseAddress(value), 'checked address'))
    .register(notes, { expected: 'tls://host:port, tcp://host:port, wss://host:port/path or ws://host:port/path' })
}

/** A prefix that is put before topics: whole levels, so it ends with a slash. */
export function topicPrefix() {
  return text('a topic prefix such as plant-7/, without wildcards', /^([^+#$\0][^+#\0]*\/)?$/)
}

export function topicFilter() {
  return text('a topic filter such as sensors/+/temperature or #', /^(?=.)(#|([^+#/\0]*|\+)(\/([^+#/\0]*|\+))*(\/#)?)$/)
}

/** The filter of a bridge's rule: empty where the prefixes are whole topics. */
export function bridgeFilter() {
  return text(
    'a topic filter such as sensors/+/temperature or #, or ""',
    /^(#|([^+#/\0]*|\+)(\/([^+#/\0]*|\+))*(\/#)?)$/,
  )
}

/** A prefix as mosquitto knows it: whatever topics begin with, a whole topic included. */
export function bridgePrefix() {
  return text('the beginning of a topic, such as plant-7/, without wildcards', /^[^+#\0]*$/)
}

/** A list of plain values, empty unless given. @param expected follows "a list of" */
export function listOf<T extends z.ZodType>(type: T, expected: string, description: string) {
  return option(z.array(type).register(notes, { expected: `a list of ${expected}` }), [] as never, description)
}

/** A list of plain values. */
export function plainList<T extends z.ZodType>(type: T, what: string) {
  return z.array(type).register(notes, { expected: `a list of ${what}` })
}

/** What `schema`, which stands at `path`, takes: words that follow "expected". */
export function expectation(schema: z.ZodType, path: readonly PropertyKey[]): string {
  const expected = noteOf(schema)?.expected
  if (expected !== undefined) return expected
  const heading = path.filter((key) => typeof key === 'string').join('.')
  return unwrap(schema) instanceof z.ZodArray ? `a list of tables [[${heading}]]` : `a table [${heading}]`
}

/** The default in words; undefined when there is none and the option must be given. */
export function defaultText(schema: z.ZodType): string | undefined {
  if (schema instanceof z.ZodPrefault) return JSON.stringify(schema.def.defaultValue)
  return notes.get(schema)?.defaultText
}

/** The schema below defaults and optionality: an object, an array or a plain value. */
export function unwrap(schema: z.ZodType): z.ZodType {
  const inner = innerOf(schema)
  return inner === undefined ? schema : unwrap(inner)
}

function innerOf(schema: z.ZodType): z.ZodType | undefined {
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional) return schema.def.innerType as z.ZodType
  if (schema instanceof z.ZodPipe) return schema.def.in as z.ZodType
  return undefined
}

/** The outermost note with an expectation. */
function noteOf(schema: z.ZodType): Note | undefined {
  const note = notes.get(schema)
  if (note?.expected !== undefined) return note
  const inner = innerOf(schema)
  return inner === undefined ? undefined : noteOf(inner)
}
