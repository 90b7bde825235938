/**
 * TLS 1.2 and newer. Where the listener asks for identity, a peer without a certificate of the CA is refused by TLS
 * itself, before a byte of it reaches the broker; the common name of the certificate is then its identity.
 */
import type { Socket } from 'node:net'
import { createServer, type TLSSocket } from 'node:tls'
import { Failure } from '../../lib/errors.ts'
import type { Log } from '../../ports/log.ts'
import type { Acceptor, ListenerTraits } from '../../ports/transport.ts'
import type { Address } from './address.ts'
import { type CertificateFiles, readSecureOptions } from './certificate-files.ts'
import { type ListenerOptions, type NetListener, SocketListener } from './listener.ts'
import { describeCode, describeError } from './network-error.ts'
import { remoteOf } from './socket-link.ts'

export interface TlsSettings extends ListenerOptions {
  readonly bind: Address
  readonly files: TlsFiles
  /** 10 s unless given. */
  readonly handshakeTimeoutMs?: number
}

/** Paths of PEM files. */
export interface TlsFiles extends CertificateFiles {
  /** The CA of client certificates; needed where the listener asks for identity, else unused. */
  readonly ca: string | undefined
}

export interface TlsListener extends NetListener {
  /** New handshakes use what the files hold now. @throws Failure ERR_CERTIFICATE and goes on with what it has */
  reload(files: TlsFiles): void
}

/** A connection whose handshake is under way. */
type Handshake = {
  readonly remote: string
  readonly timer: NodeJS.Timeout
  isLate: boolean
}

/** For the whole of it: the time limit of Node starts anew with each byte, and closes nothing. */
const handshakeTimeoutMs = 10_000

/** Rejects with the Failure ERR_LISTEN or ERR_CERTIFICATE. */
export async function listenTls(
  settings: TlsSettings,
  acceptor: Acceptor,
  traits: ListenerTraits,
  log: Log,
): Promise<TlsListener> {
  const { requireIdentity } = traits
  const server = createServer({
    ...readServerOptions(settings.files, requireIdentity),
    requestCert: requireIdentity,
    rejectUnauthorized: requireIdentity,
  })
  const listener = new SocketListener(server, acceptor, traits, log, settings)
  /** Each ends in one of the two events below. */
  const handshakes = new Map<Socket, Handshake>()

  server.on('connection', (socket, remote = remoteOf(socket)) => {
    const onLate = () => {
      handshake.isLate = true
      socket.destroy()
    }
    const timer = setTimeout(onLate, settings.handshakeTimeoutMs ?? handshakeTimeoutMs)
    const handshake: Handshake = { remote, timer, isLate: false }
    handshakes.set(socket, handshake)
  })
  server.on('secureConnection', (socket) => {
    const remote = over(socketUnder(socket))?.remote ?? remoteOf(socket)
    const identity = socket.authorized ? commonName(socket) : undefined
    if (requireIdentity && identity === undefined) {
      listener.refusals.add(remote, 'the client certificate has no common name')
      socket.destroy()
    } else {
      listener.accept(socket, { remote, identity })
    }
  })
  server.on('tlsClientError', (error, socket) => {
    const { remote = 'unknown', isLate = false } = over(socketUnder(socket)) ?? {}
    listener.refusals.add(remote, isLate ? 'the TLS handshake took too long' : refusal(error, socket))
  })
  await listener.open(settings.bind)

  function over(socket: Socket): Handshake | undefined {
    const handshake = handshakes.get(socket)
    clearTimeout(handshake?.timer)
    handshakes.delete(socket)
    return handshake
  }

  return {
    get address() {
      return listener.address
    },
    get linkCount() {
      return listener.linkCount
    },
    close() {
      for (const socket of handshakes.keys()) socket.destroy()
      return listener.close()
    },
    reload(files) {
      server.setSecureContext(readServerOptions(files, requireIdentity))
    },
  }
}

function readServerOptions(files: TlsFiles, requireIdentity: boolean) {
  if (!requireIdentity) return readSecureOptions(files, undefined)
  // Without a CA of its own Node would let in everybody whom any public CA ever certified.
  if (files.ca === undefined) throw new Failure('ERR_CERTIFICATE', 'ca is not set, but clients must show a certificate')
  return readSecureOptions(files, files.ca)
}

/** A certificate with several common names proves none. */
function commonName(socket: TLSSocket): string | undefined {
  const name: unknown = socket.getPeerCertificate().subject?.CN
  return typeof name === 'string' && name !== '' ? name : undefined
}

/** A certificate that did not hold closes the socket without an error of its own. */
function refusal(error: Error, socket: TLSSocket): string {
  const { authorizationError } = socket as { authorizationError: unknown }
  return typeof authorizationError === 'string' ? describeCode(authorizationError) : describeError(error)
}

/** The TCP socket that 'connection' announced. Node has no public way from one to the other. */
function socketUnder(socket: TLSSocket): Socket {
  return (socket as { _parent?: Socket })._parent ?? socket
}
