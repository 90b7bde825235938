/**
 * A socket in the file system, for programs of this machine: who may open the file may come in. The file goes when
 * the listener closes. One that a dead process left behind is replaced; one that somebody listens on, or that is no
 * socket, is left alone.
 */
import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { Failure } from '../../lib/errors.ts'
import type { Log } from '../../ports/log.ts'
import type { Acceptor, ListenerTraits } from '../../ports/transport.ts'
import { type Listener, type ListenerOptions, listenFailure, SocketListener } from './listener.ts'

/** Longest name that the system takes. A longer one would be cut without a word. */
const pathBytesMax = 107

/** The user and the group of the broker. */
const socketMode = 0o660

export interface UnixSettings extends ListenerOptions {
  readonly path: string
}

/** Rejects with the Failure ERR_LISTEN. */
export async function listenUnix(
  settings: UnixSettings,
  acceptor: Acceptor,
  traits: ListenerTraits,
  log: Log,
): Promise<Listener> {
  const { path } = settings
  const server = createServer()
  const listener = new SocketListener(server, acceptor, traits, log, settings)
  // Every client is the same file, so a number tells them apart in the log.
  let linkNumber = 0
  server.on('connection', (socket, remote = `unix:${path}#${++linkNumber}`) => {
    listener.accept(socket, { remote, identity: undefined })
  })
  const bind = `unix:${path}`
  await makeWay(path, bind)
  await listener.listen({ path }, bind)
  chmodSync(path, socketMode)
  listener.opened(bind)
  return listener
}

/** Removes a socket that nobody listens on. Rejects with ERR_LISTEN when there is anything that must stay. */
async function makeWay(path: string, bind: string): Promise<void> {
  if (Buffer.byteLength(path) > pathBytesMax) {
    throw new Failure('ERR_LISTEN', `bind = "${bind}" is longer than ${pathBytesMax} bytes`)
  }
  try {
    const found = lstatSync(path, { throwIfNoEntry: false })
    if (found === undefined) return
    if (!found.isSocket()) throw new Failure('ERR_LISTEN', `bind = "${bind}" is a file that is no socket`)
    if (await isAnswered(path)) throw new Failure('ERR_LISTEN', `bind = "${bind}" is in use by another program`)
    unlinkSync(path)
  } catch (error) {
    throw error instanceof Failure ? error : listenFailure(bind, error as NodeJS.ErrnoException)
  }
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') resolve(false)
      else reject(error)
    })
  })
}
