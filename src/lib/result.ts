/** The answer of something that the world may refuse. Pure functions with bad arguments assert instead. */
export type Result<T, E> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: E }

/** @example return ok(record) */
export function ok<T>(value: T): { readonly ok: true; readonly value: T } {
  return { ok: true, value }
}

/** @example return err(failure('ERR_STORE_FULL', path)) */
export function err<E>(error: E): { readonly ok: false; readonly error: E } {
  return { ok: false, error }
}
