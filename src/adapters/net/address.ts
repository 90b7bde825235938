/** Network addresses in the form that people write them. */
import { isIPv6 } from 'node:net'

export interface Address {
  /** A name or number, without brackets. */
  readonly host: string
  readonly port: number
}

/** `192.0.2.1:1883`, `[2001:db8::1]:1883`; an IPv4 peer of an IPv6 socket is written as IPv4. */
export function formatAddress({ host, port }: Address): string {
  const plain = host.startsWith('::ffff:') && host.includes('.') ? host.slice('::ffff:'.length) : host
  return isIPv6(plain) ? `[${plain}]:${port}` : `${plain}:${port}`
}
