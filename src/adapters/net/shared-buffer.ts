/**
 * Has Node read what sockets bring into one buffer for all of them. By itself it reads into 64 KB of fresh memory each
 * time, cuts that to what came and passes it through a `Readable`: for clients that say little at a time it does more
 * than the broker does with the message. `net.connect` can do without, by its option `onread`; sockets that a server
 * accepts are made the same way and only lack the option. Where a version of Node has no such thing in its sockets, they
 * read as usual.
 */
import { Socket } from 'node:net'

/** As much as Node reads at a time by itself. */
const shared = Buffer.allocUnsafeSlow(65_536)

/** The bytes are overwritten by the next read of whichever socket: they are valid until the call returns. */
export type OnRead = (this: Socket, byteCount: number, buffer: Buffer) => void

interface Internals {
  [field: symbol]: unknown
  readonly _handle?: { useUserBuffer?(buffer: Buffer): void }
}

const fields = Object.getOwnPropertySymbols(new Socket())
const bufferField = fieldNamed('kBuffer')
const callbackField = fieldNamed('kBufferCb')

function fieldNamed(name: string): symbol | undefined {
  return fields.find((field) => field.description === name)
}

/**
 * `socket` is open, plain TCP or a unix socket, and nothing that came on it waits to be read.
 *
 * @returns whether bytes come to `onRead`, and no more as 'data'
 */
export function readIntoShared(socket: Socket, onRead: OnRead): boolean {
  const internals = socket as unknown as Internals
  const { _handle: handle } = internals
  if (bufferField === undefined || callbackField === undefined || handle?.useUserBuffer === undefined) return false
  internals[bufferField] = shared
  internals[callbackField] = onRead
  handle.useUserBuffer(shared)
  return true
}
