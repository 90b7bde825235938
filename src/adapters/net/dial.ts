/**
 * The way out: one attempt to reach a remote broker over TCP or TLS. The time limit covers name resolution,
 * connecting and the handshake together. The certificate of the peer is always verified, against its name and the CA.
 *
 * With TLS 1.3 this side is connected before the peer looked at our certificate: a refused one shows as a link that
 * closes with a Failure right after it opened.
 */
import { connect as connectTcp, isIP, type Socket, type TcpNetConnectOpts } from 'node:net'
import { checkServerIdentity, connect as connectTls } from 'node:tls'
import { Failure } from '../../lib/errors.ts'
import type { Dial, Dialer, DialOutcome } from '../../ports/transport.ts'
import { type Address, formatAddress } from './address.ts'
import { type CertificateFiles, readSecureOptions } from './certificate-files.ts'
import { describeError } from './network-error.ts'
import { openLink, remoteOf } from './socket-link.ts'

export interface TcpDialSettings {
  readonly address: Address
  /** For the whole attempt. */
  readonly timeoutMs: number
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
  const address = `tcp://${formatAddress(settings.address)}`
  return {
    address,
    dial: (outcome) => new Attempt(address, settings.timeoutMs, outcome, 'connect', () => connectTcp(route(settings))),
  }
}

/** Certificates are read again for each attempt. @throws Failure ERR_CERTIFICATE when they are unusable already now */
export function createTlsDialer(settings: TlsDialSettings): Dialer {
  readSecureOptions(settings.client, settings.ca)
  const address = `tls://${formatAddress(settings.address)}`
  const { serverName } = settings
  const connect = () =>
    connectTls({
      ...route(settings),
      ...readSecureOptions(settings.client, settings.ca),
      rejectUnauthorized: true,
      // The certificate may be made for an IP address, but TLS has no way to ask for one.
      servername: isIP(serverName) === 0 ? serverName : '',
      checkServerIdentity: (_host, certificate) => checkServerIdentity(serverName, certificate),
    })
  return {
    address,
    dial: (outcome) => new Attempt(address, settings.timeoutMs, outcome, 'secureConnect', connect),
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

class Attempt implements Dial {
  readonly #address: string
  readonly #outcome: DialOutcome
  readonly #timer: NodeJS.Timeout
  #socket: Socket | undefined
  #isSettled = false

  constructor(
    address: string,
    timeoutMs: number,
    outcome: DialOutcome,
    openEvent: 'connect' | 'secureConnect',
    connect: () => Socket,
  ) {
    this.#address = address
    this.#outcome = outcome
    this.#timer = setTimeout(() => this.#fail(`no answer within ${timeoutMs / 1000} s`), timeoutMs)
    try {
      this.#socket = connect()
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      // The caller does not hold this attempt yet, so it must not hear of its end yet.
      setImmediate(() => this.#settle(() => this.#outcome.onFailed(error)))
      return
    }
    this.#socket.once(openEvent, () => this.#open())
    // Stays for the life of the socket: an error after the end of the attempt has nobody else to go to.
    this.#socket.on('error', (error) => this.#fail(describeError(error), error))
  }

  abort(): void {
    this.#settle(() => this.#socket?.destroy())
  }

  #open(): void {
    const socket = this.#socket as Socket
    const peer = { remote: remoteOf(socket), identity: undefined }
    this.#settle(() => openLink(socket, peer, (link) => this.#outcome.onConnected(link)))
  }

  #fail(reason: string, cause?: Error): void {
    this.#settle(() => {
      this.#socket?.destroy()
      this.#outcome.onFailed(new Failure('ERR_DIAL', `${this.#address}: ${reason}`, cause))
    })
  }

  /** The first end of the attempt is the only one. */
  #settle(end: () => void): void {
    if (this.#isSettled) return
    this.#isSettled = true
    clearTimeout(this.#timer)
    end()
  }
}
