/** Addresses as people write them: `127.0.0.1:1883`, `[::1]:1883`, `tls://cloud.example:8883`. */

export type HostAndPort = { readonly host: string; readonly port: number }
/** A socket in the file system. */
export type SocketPath = { readonly path: string }
/** Of a broker. `path` is that of the URL, for WebSocket only. */
export type Address = HostAndPort & { readonly scheme: 'tls' | 'tcp' | 'wss' | 'ws'; readonly path: string }

/** @returns undefined when `text` is no host and port 0 to 65 535; brackets of an IPv6 host are taken off */
export function parseHostAndPort(text: string): HostAndPort | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^\s:/[\]]+)):(\d{1,5})$/i.exec(text)
  if (match === null) return undefined
  const [, ipv6, name, digits] = match
  const port = Number(digits)
  return port > 65_535 ? undefined : { host: ipv6 ?? name ?? '', port }
}

/** @returns undefined when `text` is no address of a broker */
export function parseAddress(text: string): Address | undefined {
  const match = /^(tls|tcp|wss|ws):\/\/([^/]+)(\/[!-~]*)?$/.exec(text)
  const rest = match === null ? undefined : parseHostAndPort(match[2] as string)
  if (rest === undefined || rest.port === 0) return undefined
  const scheme = match?.[1] as Address['scheme']
  const path = match?.[3]
  if (path !== undefined && !scheme.startsWith('ws')) return undefined
  return { scheme, ...rest, path: path ?? '/mqtt' }
}

/** Where a listener is: host and port, or `unix:` before a path. @returns undefined when `text` is neither */
export function parseBind(text: string): HostAndPort | SocketPath | undefined {
  const path = /^unix:([^\0]+)$/.exec(text)?.[1]
  return path === undefined ? parseHostAndPort(text) : { path }
}

export function formatBind(bind: HostAndPort | SocketPath): string {
  return 'path' in bind ? `unix:${bind.path}` : formatHostAndPort(bind)
}

export function isEncrypted({ scheme }: Address): boolean {
  return scheme === 'tls' || scheme === 'wss'
}

/** The host and port as one word again. */
export function formatHostAndPort({ host, port }: HostAndPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Only programs of this machine reach it. */
export function isLocal(bind: HostAndPort | SocketPath): boolean {
  return 'path' in bind || isLoopback(bind.host)
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}
