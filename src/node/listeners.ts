/** The network listeners of a node, each from one `[[listener]]`. */
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { NetListener } from '../adapters/net/listener.ts'
import { listenTcp } from '../adapters/net/tcp.ts'
import { listenTls, type TlsFiles, type TlsListener } from '../adapters/net/tls.ts'
import type { ListenerSettings, ListenerTls, Settings } from '../config/settings.ts'
import type { Log } from '../ports/log.ts'
import type { Acceptor, ListenerTraits } from '../ports/transport.ts'

/** Gets a certificate together with those of a first start, so that a first gateway can come in. */
const firstGateway = 'gateway-1'

export class Listeners {
  readonly #open: NetListener[] = []
  readonly #reloads: (() => void)[] = []

  /** Opens all or none. Rejects with a Failure. */
  static async open(settings: Settings, acceptor: Acceptor, log: Log): Promise<Listeners> {
    const listeners = new Listeners()
    const netLog = log.child({ part: 'net' })
    try {
      for (const listener of settings.listeners) await listeners.#add(listener, settings.dataDir, acceptor, netLog)
    } catch (error) {
      await listeners.close()
      throw error
    }
    return listeners
  }

  get addresses(): readonly NetListener['address'][] {
    return this.#open.map((listener) => listener.address)
  }

  /** New handshakes use what the certificate files hold now. @throws Failure ERR_CERTIFICATE */
  reload(): void {
    for (const reload of this.#reloads) reload()
  }

  async close(): Promise<void> {
    await Promise.all(this.#open.map((listener) => listener.close()))
  }

  async #add(listener: ListenerSettings, dataDir: string, acceptor: Acceptor, log: Log): Promise<void> {
    const { bind, tls } = listener
    const traits = traitsOf(listener)
    if (tls === undefined) {
      this.#open.push(await listenTcp({ bind }, acceptor, traits, log))
      return
    }
    const files = await tlsFiles(tls, dataDir, log)
    const opened: TlsListener = await listenTls({ bind, files }, acceptor, traits, log)
    this.#open.push(opened)
    this.#reloads.push(() => opened.reload(files))
  }
}

function traitsOf({ bind, tls, mountpoint, allowAnonymous, gateways }: ListenerSettings): ListenerTraits {
  return {
    name: `${tls === undefined ? 'tcp' : 'tls'} ${bind.host}:${bind.port}`,
    mountpoint,
    requireIdentity: tls?.clientCertificate === 'required',
    allowAnonymous,
    acceptsGateways: gateways,
  }
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
