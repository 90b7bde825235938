/**
 * The control socket: HTTP with JSON over a unix socket in the data directory, for `tidegate ctl` on the same machine.
 * Only the user of the broker may open it, and that is all the access control there is.
 *
 * The socket goes when the broker ends; one that a killed broker left behind is replaced. Where the data directory
 * cannot be written it is elsewhere (control-path.ts).
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { Failure } from '../lib/errors.ts'
import { type ControlPath, controlPath, substitutePaths } from './control-path.ts'
import { type AdminRoute, findRoute } from './route.ts'

/** The user of the broker. */
const socketMode = 0o600

const bodyBytesMax = 1_048_576

/** The disk takes nothing new. */
const unwritable: ReadonlySet<string | undefined> = new Set(['EROFS', 'ENOSPC', 'EDQUOT'])

export class ControlSocket {
  readonly path: string
  readonly #server: Server
  readonly #place: ControlPath

  private constructor(server: Server, place: ControlPath) {
    this.path = place.path
    this.#server = server
    this.#place = place
  }

  /** Rejects with the Failure ERR_CONTROL_SOCKET. */
  static async open(dataDir: string, routes: readonly AdminRoute[]): Promise<ControlSocket> {
    try {
      mkdirSync(dataDir, { recursive: true, mode: 0o700 })
      return await ControlSocket.#openAt(controlPath(dataDir), routes)
    } catch (error) {
      if (error instanceof Failure) throw error
      if (unwritable.has((error as NodeJS.ErrnoException).code)) {
        for (const place of substitutePaths(dataDir, process.env)) {
          const socket = await ControlSocket.#openAt(place, routes).catch(() => undefined)
          if (socket !== undefined) return socket
        }
      }
      throw new Failure('ERR_CONTROL_SOCKET', (error as Error).message, error)
    }
  }

  static async #openAt(place: ControlPath, routes: readonly AdminRoute[]): Promise<ControlSocket> {
    try {
      await makeWay(place)
      const server = createServer((request, response) => void answer(routes, request, response))
      await listen(server, place.shortPath)
      return new ControlSocket(server, place)
    } catch (error) {
      place.release()
      throw error
    }
  }

  /** Requests under way are cut. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
    this.#place.release()
  }
}

async function makeWay({ path, shortPath }: ControlPath): Promise<void> {
  if (await isAnswered(shortPath)) throw new Failure('ERR_CONTROL_SOCKET', `${path} is in use by another process`)
  rmSync(shortPath, { force: true })
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      try {
        chmodSync(path, socketMode)
        resolve()
      } catch (error) {
        server.close()
        reject(error)
      }
    })
  })
}

async function answer(
  routes: readonly AdminRoute[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://control')
  const found = findRoute(routes, request.method ?? 'GET', url.pathname)
  if (found === undefined) return send(response, 404, { error: `nothing answers ${request.method} ${url.pathname}` })
  const body = await readBody(request)
  if (!body.ok) return send(response, 400, { error: body.error })
  const result = await found.route.answer({ rest: found.rest, query: url.searchParams, body: body.value })
  if (result.ok) send(response, 200, result.value)
  else send(response, 409, { error: wordsOf(result.error), code: result.error.code })
}

/** That the broker refuses is said by whoever prints it. */
function wordsOf({ code, detail, line }: Failure): string {
  return code === 'ERR_CONTROL_REFUSED' ? detail : line
}

function send(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(value ?? null))
}

async function readBody(
  request: IncomingMessage,
): Promise<{ ok: true; value: unknown } | { ok: false; error: string }> {
  const chunks: Buffer[] = []
  let byteCount = 0
  try {
    for await (const chunk of request) {
      byteCount += (chunk as Buffer).length
      if (byteCount > bodyBytesMax) return { ok: false, error: `a body of more than ${bodyBytesMax} bytes` }
      chunks.push(chunk as Buffer)
    }
    return { ok: true, value: byteCount === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString()) }
  } catch {
    return { ok: false, error: 'the body is no JSON' }
  }
}
