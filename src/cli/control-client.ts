/** How `ctl` and `doctor` ask a running broker: over the control socket of its data directory. */
import { existsSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { dirname, resolve } from 'node:path'
import { type ControlPath, controlPath, substitutePaths } from '../admin/control-path.ts'
import { Failure } from '../lib/errors.ts'

const timeoutMs = 10_000

/** Where a broker keeps its data unless its settings say otherwise. */
const usualDirectories = ['data/edge', 'data/cloud', '/var/lib/tidegate']

/** The directory that was given, or that of the environment, or the first usual one with a control socket. */
export function brokerDirectory(given: string | undefined, env: { readonly TIDEGATE_DATA_DIR?: string }): string {
  const named = given ?? env.TIDEGATE_DATA_DIR
  if (named !== undefined) return resolve(named)
  const found = usualDirectories.find(
    (directory) => existsSync(resolve(directory, 'control.sock')) || substitutesOf(resolve(directory)).length > 0,
  )
  if (found !== undefined) return resolve(found)
  const others = substitutePaths('', process.env).map(({ path }) => dirname(path))
  const places = `${usualDirectories.join(', ')}, nor a substitute in ${others.join(', ')}`
  throw new Failure('ERR_NO_BROKER', `no control socket in ${places}`)
}

/** Rejects with a Failure: ERR_NO_BROKER, ERR_CONTROL_SOCKET, or what the broker answered as ERR_CONTROL_REFUSED. */
export async function askBroker(dataDir: string, method: string, path: string, body?: unknown): Promise<unknown> {
  try {
    return await ask(placeIn(dataDir), method, path, body)
  } catch (error) {
    // A broker that cannot write to its data directory listens elsewhere.
    if (!(error instanceof Failure) || error.code !== 'ERR_NO_BROKER') throw error
    const [substitute] = substitutesOf(dataDir)
    if (substitute !== undefined) return await ask(substitute, method, path, body)
    const others = substitutePaths(dataDir, process.env).map(({ path: other }) => other)
    throw new Failure('ERR_NO_BROKER', `${error.detail}, nor at ${others.join(', ')}`, error)
  }
}

function placeIn(dataDir: string): ControlPath {
  try {
    return controlPath(dataDir)
  } catch (error) {
    throw noAnswer(dataDir, error as NodeJS.ErrnoException)
  }
}

/** What stands there in the name of the broker; anybody may put something where temporary files are. */
function substitutesOf(dataDir: string): ControlPath[] {
  const owners = [0, process.getuid?.(), statSync(dataDir, { throwIfNoEntry: false })?.uid]
  return substitutePaths(dataDir, process.env).filter(({ path }) => {
    const found = statSync(path, { throwIfNoEntry: false })
    return found?.isSocket() === true && owners.includes(found.uid)
  })
}

function ask(place: ControlPath, method: string, path: string, body: unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const sent = request(
      { socketPath: place.shortPath, method, path, timeout: timeoutMs, agent: false },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => {
          const answer = JSON.parse(Buffer.concat(chunks).toString()) as { error?: string }
          if (response.statusCode === 200) resolve(answer)
          else reject(new Failure('ERR_CONTROL_REFUSED', answer.error ?? `status ${response.statusCode}`))
        })
      },
    )
    sent.on('timeout', () => sent.destroy(new Failure('ERR_NO_BROKER', `${place.path} does not answer`)))
    sent.on('error', (error: NodeJS.ErrnoException) => {
      reject(error instanceof Failure ? error : noAnswer(place.path, error))
    })
    sent.on('close', () => place.release())
    sent.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

function noAnswer(path: string, error: NodeJS.ErrnoException): Failure {
  if (error.code === 'EACCES' || error.code === 'EPERM') {
    return new Failure('ERR_CONTROL_SOCKET', `${path} belongs to another user`, error)
  }
  const isAbsent = error.code === 'ENOENT' || error.code === 'ECONNREFUSED' || error.code === 'ENOTDIR'
  return new Failure('ERR_NO_BROKER', isAbsent ? path : `${path}: ${error.message}`, error)
}
