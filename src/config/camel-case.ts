/** Keys as TOML has them (`inflight_max`) turned into names as TypeScript has them (`inflightMax`), all the way down. */

type CamelCase<Key> = Key extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<CamelCase<Tail>>}` : Key

export type CamelCased<T> = T extends readonly (infer Item)[]
  ? readonly CamelCased<Item>[]
  : T extends object
    ? { readonly [Key in keyof T as CamelCase<Key> & PropertyKey]: CamelCased<T[Key]> }
    : T

/** @example camelCased({ log: { level_min: 1 } }) // { log: { levelMin: 1 } } */
export function camelCased<T>(value: T): CamelCased<T> {
  return convert(value) as CamelCased<T>
}

function convert(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(convert)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
      convert(inner),
    ]),
  )
}
