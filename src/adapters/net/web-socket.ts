/**
 * MQTT over WebSocket (MQTT 5.0 §6): the HTTP request in front of it. A listener for TCP or TLS hands over each socket
 * that is open; what asks for the path and the subprotocol becomes a link, everything else gets an HTTP status with
 * the reason and is closed.
 */
import { createServer, type IncomingMessage, type Server, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type ServerOptions, WebSocketServer } from 'ws'
import type { Link, LinkOwner } from '../../ports/transport.ts'
import { describeError } from './network-error.ts'
import { lingerMs, type OpenLink, type Peer } from './socket-link.ts'
import { openWebSocketLink } from './web-socket-link.ts'

/** For the request, from the first byte to the last. */
const requestTimeoutMs = 10_000

/** A message may hold a packet of the largest size with others around it. */
const messageExtraBytes = 65_536

/** By preference. Clients of MQTT 3.1 know only the second. */
const subprotocols = ['mqtt', 'mqttv3.1']

export interface WebSocketSettings {
  /** Of the request, such as `/mqtt`. */
  readonly path: string
  readonly packetBytesMax: number
  /** Refuses pages of other hosts: where anybody gets in, any page in a browser nearby would. */
  readonly sameHostOnly: boolean
}

/** Gives a listener for TCP or TLS links that speak MQTT over WebSocket. */
export function webSocketLinks(settings: WebSocketSettings): OpenLink {
  const door = new WebSocketDoor(settings)
  return (socket, peer, accept, refuse) => door.open(socket, { peer, accept, refuse })
}

interface Opening {
  readonly peer: Peer
  readonly accept: (link: Link) => LinkOwner
  readonly refuse: (reason: string) => void
  readonly timer: NodeJS.Timeout
}

interface Refusal {
  readonly status: 400 | 403 | 404 | 426
  readonly reason: string
}

class WebSocketDoor {
  readonly #path: string
  readonly #sameHostOnly: boolean
  readonly #http: Server
  readonly #webSockets: WebSocketServer
  /** Sockets that were neither let in nor refused yet. */
  readonly #openings = new Map<Duplex, Opening>()

  constructor({ path, packetBytesMax, sameHostOnly }: WebSocketSettings) {
    this.#path = path
    this.#sameHostOnly = sameHostOnly
    const options: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      autoPong: false,
      maxPayload: packetBytesMax + messageExtraBytes,
      closeTimeout: lingerMs,
      handleProtocols: (offered) => subprotocols.find((name) => offered.has(name)) ?? false, // [MQTT-6.0.0-4]
    }
    this.#webSockets = new WebSocketServer(options)
    this.#webSockets.on('wsClientError', (error, socket) => {
      this.#refuse(socket, { status: 400, reason: error.message })
    })
    // It never listens: sockets come from the listener.
    this.#http = createServer((request, response) => {
      const refusal = this.#refusalOf(request) ?? { status: 426, reason: 'asks for no WebSocket' }
      this.#tellRefusal(request.socket, refusal.reason)
      response.writeHead(refusal.status, { connection: 'close', upgrade: 'websocket', 'content-type': 'text/plain' })
      response.end(`${refusal.reason}\n`)
    })
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
    this.#http.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      const isHttp = error.code?.startsWith('HPE_') !== true
      this.#refuse(socket, { status: 400, reason: isHttp ? describeError(error) : 'speaks no HTTP' })
    })
  }

  open(socket: Socket, opening: Omit<Opening, 'timer'>): void {
    const timer = setTimeout(() => {
      this.#tellRefusal(socket, `no request within ${requestTimeoutMs / 1000} s`)
      socket.destroy()
    }, requestTimeoutMs)
    this.#openings.set(socket, { ...opening, timer })
    socket.once('close', () => {
      clearTimeout(timer)
      this.#openings.delete(socket)
    })
    socket.on('error', (error) => this.#tellRefusal(socket, describeError(error)))
    this.#http.emit('connection', socket)
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const refusal = this.#refusalOf(request)
    if (refusal !== undefined) {
      this.#refuse(socket, refusal)
      return
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      const opening = this.#openings.get(socket)
      if (opening === undefined) return
      this.#openings.delete(socket)
      clearTimeout(opening.timer)
      openWebSocketLink(webSocket, socket as Socket, opening.peer, opening.accept)
    })
  }

  #refusalOf({ url = '', headers }: IncomingMessage): Refusal | undefined {
    if (url.split('?', 1)[0] !== this.#path) return { status: 404, reason: `asks for another path than ${this.#path}` }
    if (headers.upgrade === undefined) return undefined
    if (this.#sameHostOnly && !isOfSameHost(headers.origin, headers.host)) {
      return { status: 403, reason: 'comes from a page of another host' }
    }
    const offered = headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? []
    if (subprotocols.some((name) => offered.includes(name))) return undefined // [MQTT-6.0.0-3]
    return { status: 400, reason: 'does not offer the subprotocol mqtt' }
  }

  /** The socket closes when the peer does, or when the time for its request is over. */
  #refuse(socket: Duplex, { status, reason }: Refusal): void {
    this.#tellRefusal(socket, reason)
    const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, 'connection: close', 'content-type: text/plain']
    if (socket.writable) socket.end(`${lines.join('\r\n')}\r\n\r\n${reason}\n`)
  }

  /** The first reason counts. */
  #tellRefusal(socket: Duplex, reason: string): void {
    this.#openings.get(socket)?.refuse(reason)
    this.#openings.delete(socket)
  }
}

/** Only browsers say where a request comes from; whoever says nothing is no page. The ports may differ. */
function isOfSameHost(origin: string | undefined, host: string | undefined): boolean {
  if (origin === undefined) return true
  return (
    URL.canParse(origin) &&
    URL.canParse(`http://${host}`) &&
    new URL(origin).hostname === new URL(`http://${host}`).hostname
  )
}
