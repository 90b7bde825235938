/**
 * MQTT over WebSocket on the way out (MQTT 5.0 §6): the HTTP request that turns a socket, TCP or TLS, into a link. The
 * last resort where a network lets nothing but the web through.
 */
import { WebSocket } from 'ws'
import { formatAddress } from './address.ts'
import type { TcpDialSettings } from './dial.ts'
import type { OpenLink } from './socket-link.ts'
import { openWebSocketLink } from './web-socket-link.ts'

/** A message may hold a packet of the largest size with others around it. */
const messageExtraBytes = 65_536

export interface WebSocketDialSettings {
  readonly scheme: 'ws' | 'wss'
  readonly address: TcpDialSettings['address']
  /** Of the URL, such as `/mqtt`. */
  readonly path: string
  readonly packetBytesMax: number
}

/** What `createTcpDialer` and `createTlsDialer` take as `webSocket`. */
export function webSocketClient({ scheme, address, path, packetBytesMax }: WebSocketDialSettings): {
  readonly scheme: 'ws' | 'wss'
  readonly openLink: OpenLink
} {
  const openLink: OpenLink = (socket, peer, accept, refuse) => {
    // The socket is open and, for wss, encrypted already: to the package it is a plain one.
    const webSocket = new WebSocket(`ws://${formatAddress(address)}${path}`, ['mqtt'], {
      createConnection: () => socket,
      perMessageDeflate: false,
      autoPong: false,
      followRedirects: false,
      maxPayload: packetBytesMax + messageExtraBytes,
    })
    const onRefused = (error: Error) => refuse(error.message)
    webSocket.once('error', onRefused)
    webSocket.once('open', () => {
      webSocket.off('error', onRefused)
      openWebSocketLink(webSocket, socket, peer, accept)
    })
  }
  return { scheme, openLink }
}
