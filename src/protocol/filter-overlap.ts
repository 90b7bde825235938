/**
 * Topic filters as sets of topics: what two of them have in common. It is always a filter again, or nothing
 * (MQTT 5.0 §4.7).
 */

/**
 * The filter of exactly the topics that fall under both, which are valid; undefined when there are none.
 * @example overlapOf('a/+/c', 'a/b/#') // 'a/b/c'
 */
export function overlapOf(one: string, other: string): string | undefined {
  if (isHidden(one, other) || isHidden(other, one)) return undefined
  const common: string[] = []
  const [left, right] = [one.split('/'), other.split('/')]
  for (let at = 0; ; at++) {
    const [a, b] = [left[at], right[at]]
    // `a/#` takes `a` as well, so that a filter that ends here may meet one that goes on with `#`.
    if (a === undefined && b === undefined) break
    if (a === '#') return [...common, ...right.slice(at)].join('/')
    if (b === '#') return [...common, ...left.slice(at)].join('/')
    if (a === undefined || b === undefined) return undefined
    if (a !== b && a !== '+' && b !== '+') return undefined
    common.push(a === '+' ? b : a)
  }
  return common.join('/')
}

/** A wildcard in the first level does not match a topic that begins with $. */
function isHidden(wild: string, other: string): boolean {
  return /^[+#]/.test(wild) && other.startsWith('$')
}
