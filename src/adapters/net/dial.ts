/**
 * The way out: one attempt to reach a remote broker over TCP or TLS, with a WebSocket on top where one is asked for
 * (dial-web-socket.ts). The time limit covers name resolution, connecting and the handshakes together. The certificate
 * of the peer is always verified, against its name and the CA.
 *
 * A TLS session is resumed where the peer allows it, which spares both sides the costly half of the handshake: what a
 * cloud feels when all its gateways come back at once.
 *
 * With TLS 1.3 this side is connected before the peer looked at our certificate: a refused one shows as a link that
 * closes with a Failure right after it opened.
 */
import { connect as connectTcp, isIP, type Socket, type TcpNetConnectOpts } from 'node:net'
import { checkServerIdentity, connect as connectTls, type SecureContextOptions } from 'node:tls'
import { Failure } from '../../lib/errors.ts'
import type { Dial, Dialer, DialOutcome, Link, LinkOwner } from '../../ports/transport.ts'
import { type Address, formatAddress } from './address.ts'
import { type CertificateFiles, readSecureOptions } from './certificate-files.ts'
import { describeError } from './network-error.ts'
import { type OpenLink, openLink, remoteOf } from './socket-link.ts'

export interface TcpDialSettings {
  readonly address: Address
  /** For the whole attempt. */
  readonly timeoutMs: number
  /** What is spoken above the socket; undefined = MQTT and nothing else. */
  readonly webSocket?: { readonly scheme: 'ws' | 'wss'; readonly openLink: OpenLink }
}

export interface TlsDialSettings extends TcpDialSettings {
  /** Path of the CA of the peer; undefined = the public CAs. */
  readonly ca: string | undefined
  /** What we show; undefined = nothing. */
  readonly client: CertificateFiles | undefined
  /** The name that the certificate of the peer must hold. */
  readonly serverName: string
}

export function createTcpDialer(settings: TcpDialSettings): Dialer {
  const { timeoutMs, webSocket } = settings
  const address = `${webSocket?.scheme ?? 'tcp'}://${formatAddress(settings.address)}`
  const how = { address, timeoutMs, openEvent: 'connect', openLink: webSocket?.openLink ?? openLink } as const
  return { address, dial: (outcome) => new Attempt(how, outcome, () => connectTcp(route(settings))) }
}

/** Certificates are read again for each attempt. @throws Failure ERR_CERTIFICATE when they are unusable already now */
export function createTlsDialer(settings: TlsDialSettings): Dialer {
  readSecureOptions(settings.client, settings.ca)
  const { serverName, timeoutMs, webSocket } = settings
  const address = `${webSocket?.scheme ?? 'tls'}://${formatAddress(settings.address)}`
  const how = { address, timeoutMs, openEvent: 'secureConnect', openLink: webSocket?.openLink ?? openLink } as const
  const resumption = new Resumption()
  const connect = () => {
    const options = readSecureOptions(settings.client, settings.ca)
    const socket = connectTls({
      ...route(settings),
      ...options,
      session: resumption.sessionFor(options),
      rejectUnauthorized: true,
      // The certificate may be made for an IP address, but TLS has no way to ask for one.
      servername: isIP(serverName) === 0 ? serverName : '',
      checkServerIdentity: (_host, certificate) => checkServerIdentity(serverName, certificate),
    })
    socket.on('session', (session) => resumption.keep(session))
    return socket
  }
  return { address, dial: (outcome) => new Attempt(how, outcome, connect) }
}

/** The last session that the peer gave us a ticket for, as long as the certificates are the ones it was made with. */
class Resumption {
  #session: Buffer | undefined
  #proof = ''

  sessionFor({ ca, cert, key }: SecureContextOptions): Buffer | undefined {
    const proof = [ca, cert, key].map(String).join('\n')
    if (proof !== this.#proof) this.#session = undefined
    this.#proof = proof
    return this.#session
  }

  keep(session: Buffer): void {
    this.#session = session
  }
}

function route({ address, timeoutMs }: TcpDialSettings): TcpNetConnectOpts {
  return {
    host: address.host,
    port: address.port,
    // Where a name has several addresses Node gives each but the last 250 ms, too little for a mobile network.
    autoSelectFamilyAttemptTimeout: Math.max(250, Math.floor(timeoutMs / 4)),
  }
}

interface How {
  readonly address: string
  readonly timeoutMs: number
  readonly openEvent: 'connect' | 'secureConnect'
  readonly openLink: OpenLink
}

class Attempt implements Dial {
  readonly #how: How
  readonly #outcome: DialOutcome
  readonly #timer: NodeJS.Timeout
  #socket: Socket | undefined
  #isSettled = false

  constructor(how: How, outcome: DialOutcome, connect: () => Socket) {
    this.#how = how
    this.#outcome = outcome
    this.#timer = setTimeout(() => this.#fail(`no answer within ${how.timeoutMs / 1000} s`), how.timeoutMs)
    try {
      this.#socket = connect()
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      // The caller does not hold this attempt yet, so it must not hear of its end yet.
      setImmediate(() => this.#settle(() => this.#outcome.onFailed(error)))
      return
    }
    this.#socket.once(how.openEvent, () => this.#open())
    // Stays for the life of the socket: an error after the end of the attempt has nobody else to go to.
    this.#socket.on('error', (error) => this.#fail(describeError(error), error))
  }

  abort(): void {
    this.#settle(() => this.#socket?.destroy())
  }

  #open(): void {
    const socket = this.#socket as Socket
    const accept = (link: Link) => this.#settle(() => this.#outcome.onConnected(link)) ?? abandoned(link)
    this.#how.openLink(socket, { remote: remoteOf(socket), identity: undefined }, accept, (reason) =>
      this.#fail(reason),
    )
  }

  #fail(reason: string, cause?: Error): void {
    this.#settle(() => {
      this.#socket?.destroy()
      this.#outcome.onFailed(new Failure('ERR_DIAL', `${this.#how.address}: ${reason}`, cause))
    })
  }

  /** The first end of the attempt is the only one. */
  #settle<T>(end: () => T): T | undefined {
    if (this.#isSettled) return undefined
    this.#isSettled = true
    clearTimeout(this.#timer)
    return end()
  }
}

/** A link that opened behind the end of its attempt. */
function abandoned(link: Link): LinkOwner {
  link.destroy()
  const ignore = () => undefined
  return { receive: ignore, onDrain: ignore, onClosed: ignore }
}
