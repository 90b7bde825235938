/** Takes the header of a proxy off a socket, so that what is left is the client's alone. */
import type { Socket } from 'node:net'
import type { Address } from './address.ts'
import { describeError } from './network-error.ts'
import { parseProxyHeader } from './proxy-protocol.ts'

/** A proxy writes its header at once. */
const headerTimeoutMs = 5000

/** One of the two, or neither when the socket closes before. */
export interface ProxyOutcome {
  /** The next byte of the socket, which is paused, is the client's. */
  onSource(source: Address | undefined): void
  /** The socket is destroyed. */
  onRefused(reason: string): void
}

export function readProxyHeader(socket: Socket, outcome: ProxyOutcome): void {
  let bytes: Buffer = Buffer.alloc(0)
  const refuse = (reason: string) => {
    release()
    socket.destroy()
    outcome.onRefused(reason)
  }
  const onError = (error: Error) => refuse(describeError(error))
  const timer = setTimeout(() => refuse(`no PROXY protocol header within ${headerTimeoutMs / 1000} s`), headerTimeoutMs)
  const onChunk = (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    const header = parseProxyHeader(bytes)
    if (header === undefined) return
    if (typeof header === 'string') {
      refuse(header)
      return
    }
    release()
    socket.pause()
    if (bytes.length > header.byteCount) socket.unshift(bytes.subarray(header.byteCount))
    outcome.onSource(header.source)
  }
  const release = () => {
    clearTimeout(timer)
    socket.off('data', onChunk).off('error', onError).off('close', release)
  }
  socket.on('data', onChunk).on('error', onError).on('close', release)
}
