/** A normative statement as the matrix knows it. */

/** Why there is no test, or `same()`: the statement of 5.0 whose tests show it as well. */
export type Excuse = string | { readonly same: readonly string[] }

export type Statement = readonly [number: string, words: string, excuse?: Excuse]

export const boundToClients = 'binds clients: nothing that a server does or sees'

/** A statement about a server that lacks something, or sends something, that this one does not. */
export function notOurs(why: string): string {
  return `does not arise: ${why}`
}

/** Says the same as these statements of 5.0, and their tests run in both versions or below the version. */
export function same(...numbers: string[]): Excuse {
  return { same: numbers }
}
