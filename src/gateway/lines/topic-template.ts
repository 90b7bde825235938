/** Topics with places for what a device says: `dev/{name}/{key}`. */

/** @example topicVariables('dev/{name}/{key}') // ['name', 'key'] */
export function topicVariables(template: string): string[] {
  return [...template.matchAll(place)].map(([, name = '']) => name)
}

/**
 * The template with its places filled; undefined when one has no value.
 * @example fillTopic('dev/{name}/{key}', { name: 's1', key: 'temp' }) // 'dev/s1/temp'
 */
export function fillTopic(template: string, variables: Readonly<Record<string, string>>): string | undefined {
  let isWhole = true
  const topic = template.replace(place, (_, name: string) => {
    const value = Object.hasOwn(variables, name) ? variables[name] : undefined
    if (value === undefined || value === '') isWhole = false
    return topicLevel(value ?? '')
  })
  return isWhole ? topic : undefined
}

/** A value as one level of a topic: what would split it or make it a filter is taken out. */
function topicLevel(value: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return value.replace(/[+#/\u0000-\u001f\u007f]/g, '_')
}

const place = /\{(\w+)\}/g
