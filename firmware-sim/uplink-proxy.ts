/**
 * A TCP proxy that misbehaves on demand: it stands between a gateway and its cloud and plays the mobile network. The
 * fault is one for all connections and may change at any time, also under connections that are open.
 *
 *   pass        bytes go through as fast as both sides take them
 *   latency     every chunk is late by `delayMs` plus up to `jitterMs`, in order
 *   bandwidth   each direction of a connection carries `bytesPerSecond`
 *   stall       bytes are held and come later, as when a radio fades and returns
 *   blackhole   bytes vanish, and so do ends and resets: neither side hears anything, ever
 *   half-open   the client is reset and the target hears nothing; new connections pass
 *   reset       both sides are reset, new connections too
 *   nat-idle    a connection that carried nothing for `idleMs` is forgotten: from then on it is a black hole
 *   moved       the client has another address: what is open is a black hole, and new connections pass
 *
 * A connection that lived through a black hole misses bytes, so it never carries any again, whatever comes after.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { type Delay, ProxyFlow } from './proxy-flow.ts'

export type Fault =
  | Delay
  | { readonly kind: 'blackhole' | 'half-open' | 'reset' | 'moved' }
  | { readonly kind: 'nat-idle'; readonly idleMs: number }

/** Both ends hear the same network: what goes through at its own pace, and what is lost. */
const pass: Delay = { kind: 'pass' }

export interface UplinkProxySettings {
  readonly target: { readonly host: string; readonly port: number }
  /** Decides about jitter. */
  readonly random: { next(): number }
}

export class UplinkProxy {
  readonly #settings: UplinkProxySettings
  readonly #server: Server
  readonly #connections = new Set<ProxiedConnection>()
  #fault: Fault = { kind: 'pass' }
  #acceptedCount = 0

  constructor(settings: UplinkProxySettings) {
    this.#settings = settings
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client))
  }

  /** @returns the port on 127.0.0.1 that it listens on, a free one for 0 */
  async listen(port = 0): Promise<number> {
    this.#server.listen(port, '127.0.0.1')
    await once(this.#server, 'listening')
    return (this.#server.address() as AddressInfo).port
  }

  /** For existing and new connections. */
  setFault(fault: Fault): void {
    this.#fault = fault
    for (const connection of this.#connections) connection.apply(fault)
  }

  get fault(): Fault {
    return this.#fault
  }

  /** Connections ever accepted. */
  get acceptedCount(): number {
    return this.#acceptedCount
  }

  /** Resets what is open, or lets it go where bytes still wait for a peer that does not read. */
  async close(): Promise<void> {
    this.setFault({ kind: 'reset' })
    for (const connection of this.#connections) connection.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #accept(client: Socket): void {
    this.#acceptedCount++
    const connection = new ProxiedConnection(client, this.#settings, this.#fault, () => {
      this.#connections.delete(connection)
    })
    this.#connections.add(connection)
  }
}

class ProxiedConnection {
  readonly #sides: Socket[] = []
  readonly #flows: ProxyFlow[] = []
  readonly #onGone: () => void
  #openCount = 0
  #isDead = false
  #idleTimer: NodeJS.Timeout | undefined

  /** @param onGone called when both sides are closed */
  constructor(client: Socket, { target, random }: UplinkProxySettings, fault: Fault, onGone: () => void) {
    this.#onGone = onGone
    this.#adopt(client)
    if (fault.kind === 'blackhole' || fault.kind === 'reset') {
      this.apply(fault)
    } else {
      const upstream = connect({ ...target, allowHalfOpen: true, noDelay: true })
      this.#adopt(upstream)
      const delay = isDelay(fault) ? fault : pass
      this.#flows.push(new ProxyFlow(client, upstream, delay, random), new ProxyFlow(upstream, client, delay, random))
      for (const side of this.#sides) side.on('data', () => this.#idleTimer?.refresh())
      if (fault.kind === 'nat-idle') this.#forgetAfter(fault.idleMs)
    }
  }

  #forgetAfter(idleMs: number): void {
    this.#idleTimer = setTimeout(() => this.#die(), idleMs).unref()
  }

  apply(fault: Fault): void {
    clearTimeout(this.#idleTimer)
    switch (fault.kind) {
      case 'blackhole':
      case 'moved':
        this.#die()
        break
      case 'nat-idle':
        this.#forgetAfter(fault.idleMs)
        for (const flow of this.#flows) flow.setDelay(pass)
        break
      case 'half-open':
        this.#die()
        this.#sides[0]?.resetAndDestroy()
        break
      case 'reset':
        this.#die()
        for (const side of this.#sides) side.resetAndDestroy()
        break
      default:
        if (!this.#isDead) for (const flow of this.#flows) flow.setDelay(fault)
    }
  }

  destroy(): void {
    for (const side of this.#sides) side.destroy()
  }

  #adopt(socket: Socket): void {
    this.#sides.push(socket)
    this.#openCount++
    // An error shows in 'close' too, and that is what is passed on.
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.#openCount--
      if (this.#openCount === 0) this.#onGone()
    })
  }

  /** Whoever still talks talks to nobody. A side is let go when its own peer has left. */
  #die(): void {
    if (this.#isDead) return
    this.#isDead = true
    for (const flow of this.#flows) flow.cut()
    for (const side of this.#sides) {
      side.resume()
      if (side.readableEnded) side.destroy()
      else side.on('end', () => side.destroy())
    }
  }
}

function isDelay(fault: Fault): fault is Delay {
  return ['pass', 'latency', 'bandwidth', 'stall'].includes(fault.kind)
}
