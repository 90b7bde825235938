/** What can be asked of a running broker. The composition registers routes (node/admin-routes.ts); nothing here knows them. */
import type { Failure } from '../lib/errors.ts'
import type { Result } from '../lib/result.ts'

export interface AdminRequest {
  /** Of the part of the path that a trailing `*` stands for, decoded; empty without one. */
  readonly rest: string
  readonly query: URLSearchParams
  /** The body as JSON; undefined without one. */
  readonly body: unknown
}

/** Answers what is sent as JSON; a failure becomes status 409 with its line. Must not throw. */
export type AdminAnswer = (request: AdminRequest) => Result<unknown, Failure> | Promise<Result<unknown, Failure>>

export interface AdminRoute {
  /** GET changes nothing. */
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** @example '/loss', '/delayed/*' */
  readonly path: string
  readonly answer: AdminAnswer
}

/** The route for a request and what stands for its `*`; undefined when there is none. */
export function findRoute(
  routes: readonly AdminRoute[],
  method: string,
  path: string,
): { readonly route: AdminRoute; readonly rest: string } | undefined {
  for (const route of routes) {
    if (route.method !== method) continue
    if (route.path === path) return { route, rest: '' }
    const prefix = route.path.endsWith('*') ? route.path.slice(0, -1) : undefined
    if (prefix !== undefined && path.startsWith(prefix)) return { route, rest: decoded(path.slice(prefix.length)) }
  }
  return undefined
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
