/** The ways to the remote broker of a bridge, one for each address. */
import { createTcpDialer, createTlsDialer } from '../adapters/net/dial.ts'
import type { BridgeAddress, BridgeSettings } from '../config/settings.ts'
import type { Dialer } from '../ports/transport.ts'

/** The preferred one first. Rejects with the Failure ERR_CERTIFICATE. */
export function makeDialers(bridge: BridgeSettings, packetBytesMax: number): Promise<Dialer[]> {
  return Promise.all(bridge.addresses.map((address) => makeDialer(address, bridge.connectTimeoutMs, packetBytesMax)))
}

async function makeDialer(address: BridgeAddress, timeoutMs: number, packetBytesMax: number): Promise<Dialer> {
  const { tls } = address
  const webSocket = await webSocketOf(address, packetBytesMax)
  const settings = { address, timeoutMs, ...(webSocket !== undefined && { webSocket }) }
  return tls === undefined ? createTcpDialer(settings) : createTlsDialer({ ...settings, ...tls })
}

/** Loaded where it is used: most gateways do not pay for it. */
async function webSocketOf({ scheme, host, port, path }: BridgeAddress, packetBytesMax: number) {
  if (scheme !== 'ws' && scheme !== 'wss') return undefined
  const { webSocketClient } = await import('../adapters/net/dial-web-socket.ts')
  return webSocketClient({ scheme, address: { host, port }, path, packetBytesMax })
}
