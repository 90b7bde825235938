/** `T:20.5 H=40`, `MSG:2565, Vrms:232.56`, `Temp: 21`: readings as people print them. */

/** The pairs of a line, or undefined when it is anything else, such as a sentence with a colon in it. O(n). */
export function decodeKeyValue(line: string): readonly (readonly [key: string, value: string])[] | undefined {
  const pairs: (readonly [string, string])[] = []
  pair.lastIndex = 0
  while (pair.lastIndex < line.length) {
    const [, key, value] = pair.exec(line) ?? []
    if (key === undefined || value === undefined) return undefined
    pairs.push([key, value])
  }
  return pairs.length > 0 ? pairs : undefined
}

/** A key, a colon or equals sign, a value without blanks; then a comma, a semicolon, blanks, or the end. */
const pair = /[ \t]*([A-Za-z_][\w.-]{0,63})[ \t]{0,8}[:=][ \t]{0,8}([^\s,;:=]{1,256})(?:[ \t]*[,;]|[ \t]+|$)[ \t]*/y
