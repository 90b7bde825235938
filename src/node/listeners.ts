/** The network listeners of a node, each from one `[[listener]]`. */
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Listener } from '../adapters/net/listener.ts'
import type { OpenLink } from '../adapters/net/socket-link.ts'
import { listenTcp } from '../adapters/net/tcp.ts'
import { listenTls, type TlsFiles } from '../adapters/net/tls.ts'
import { listenUnix } from '../adapters/net/unix.ts'
import { formatBind } from '../config/address.ts'
import type { ListenerSettings, ListenerTls, Settings } from '../config/settings.ts'
import type { Log } from '../ports/log.ts'
import type { Acceptor, ListenerTraits } from '../ports/transport.ts'

/** Gets a certificate together with those of a first start, so that a first gateway can come in. */
const firstGateway = 'gateway-1'

export class Listeners {
  readonly #open: Listener[] = []
  readonly #reloads: (() => void)[] = []

  /** Opens all or none. Rejects with a Failure. */
  static async open(settings: Settings, acceptor: Acceptor, log: Log): Promise<Listeners> {
    const listeners = new Listeners()
    const netLog = log.child({ part: 'net' })
    try {
      for (const listener of settings.listeners) await listeners.#add(listener, settings, acceptor, netLog)
    } catch (error) {
      await listeners.close()
      throw error
    }
    return listeners
  }

  /** New handshakes use what the certificate files hold now. @throws Failure ERR_CERTIFICATE */
  reload(): void {
    for (const reload of this.#reloads) reload()
  }

  async close(): Promise<void> {
    await Promise.all(this.#open.map((listener) => listener.close()))
  }

  async #add(listener: ListenerSettings, settings: Settings, acceptor: Acceptor, log: Log): Promise<void> {
    const { bind, tls, limits } = listener
    const { connectionCountMax, connectsPerSecondMax } = limits
    const door = { isProxied: listener.proxyProtocol, connectionCountMax, connectsPerSecondMax }
    const traits = traitsOf(listener)
    if ('path' in bind) {
      this.#open.push(await listenUnix({ ...bind, ...door }, acceptor, traits, log))
      return
    }
    const openLink = await webSocketLinks(listener, settings)
    if (tls === undefined) {
      this.#open.push(await listenTcp({ bind, openLink, ...door }, acceptor, traits, log))
      return
    }
    const files = await tlsFiles(tls, settings.dataDir, log)
    const opened = await listenTls({ bind, files, openLink, ...door }, acceptor, traits, log)
    this.#open.push(opened)
    this.#reloads.push(() => opened.reload(files))
  }
}

function traitsOf(listener: ListenerSettings): ListenerTraits {
  const { type, bind, tls, mountpoint, allowAnonymous, gateways, limits } = listener
  const isLimited = limits.messagesPerSecondMax !== undefined || limits.bytesPerSecondMax !== undefined
  return {
    name: `${type} ${formatBind(bind)}`,
    mountpoint,
    requireIdentity: tls?.clientCertificate === 'required',
    allowAnonymous,
    acceptsGateways: gateways,
    rates: isLimited ? limits : undefined,
  }
}

/** Loaded where it is used: a gateway without browsers does not pay for it. */
async function webSocketLinks(
  { webSocketPath: path, allowAnonymous }: ListenerSettings,
  { mqtt }: Settings,
): Promise<OpenLink | undefined> {
  if (path === undefined) return undefined
  const { webSocketLinks } = await import('../adapters/net/web-socket.ts')
  return webSocketLinks({ path, packetBytesMax: mqtt.packetBytesMax, sameHostOnly: allowAnonymous })
}

async function tlsFiles(tls: ListenerTls, dataDir: string, log: Log): Promise<TlsFiles> {
  if (tls.files !== 'auto') return tls.files
  const { ensureServerCertificates } = await import('../adapters/certificates/certificate-directory.ts')
  const directory = join(dataDir, 'certs')
  const hosts = [...new Set([hostname(), 'localhost', '127.0.0.1', '::1'])]
  const { files, report } = await ensureServerCertificates(directory, hosts, [firstGateway])
  if (report.written.length > 0) log.warn({ path: directory }, 'development certificates made, replace them before use')
  return files
}
