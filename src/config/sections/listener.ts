/** `[[listener]]`: where clients come in, and who is let in. */
import { z } from 'zod'
import { bind, choice, flag, option, optional, type Profile, path, required, text, wholeNumber } from '../option.ts'

const listener = z.strictObject({
  type: required(
    choice(['tcp', 'tls', 'ws', 'wss']),
    'Plain TCP, TLS 1.2 and newer, or MQTT over WebSocket for browsers: plain with ws, over TLS with wss.',
  ),
  bind: required(
    bind(),
    'Address and port to listen on. 127.0.0.1 is this machine only, 0.0.0.0 every network. Port 0 takes any free one. With tcp also unix:/run/tidegate.sock, a socket in the file system for the user and group of the broker.',
  ),
  path: optional(
    text('a path that begins with a slash, without ? or #', /^\/[^\s?#]*$/),
    '"/mqtt" with ws and wss',
    'For ws and wss: the path of the URL that clients ask for. Ports 8083 and 8084 are usual.',
  ),
  allow_anonymous: optional(
    flag(),
    'true on loopback and unix sockets without proxy_protocol, else false',
    'Whether clients that prove nothing about themselves get in. A listener that other machines reach starts without required client certificates and without users only when this is set to true.',
  ),
  certificate: optional(
    text('a path, or "auto"'),
    'none',
    'For tls and wss: PEM file with the certificate of the server. "auto" makes a development CA, a server certificate and one for a first gateway, gateway-1, under data_dir/certs on the first start.',
  ),
  private_key: optional(path(), 'none', 'For tls and wss: PEM file with its private key.'),
  ca: optional(path(), 'none', 'For tls and wss: PEM file with the CA that client certificates must come from.'),
  client_certificate: optional(
    choice(['required', 'none']),
    '"required" with tls and wss',
    'Whether a client must show a certificate. Its common name is then the identity of the client.',
  ),
  mountpoint: optional(
    text('a topic prefix such as g/{identity}/, without wildcards', /^[^+#$\0][^+#\0]*\/$/),
    'none',
    'Put before every topic of a client and taken off again towards it, so that nobody reaches outside. {identity} stands for the common name of its certificate.',
  ),
  proxy_protocol: option(
    flag(),
    false,
    'Whether clients come through a proxy that puts a PROXY protocol header, version 1 or 2, before their bytes. The log then shows the client and not the proxy. Whoever reaches such a listener can claim any address, so let only the proxy reach it.',
  ),
  connection_count_max: optional(
    wholeNumber(1, 10_000_000),
    'no limit of its own',
    'Connections that may be open here at the same time. Beyond it new ones are refused, counted and, ten in ten seconds, logged.',
  ),
  connects_per_second_max: optional(
    wholeNumber(1, 1_000_000),
    'no limit',
    'New connections in one second, before TLS costs anything. Beyond it they are refused in the same way.',
  ),
  messages_per_second_max: optional(
    wholeNumber(1, 10_000_000),
    'no limit',
    'Messages that each client may publish in one second. A faster one is not disconnected: it is read more slowly, so that it has to wait.',
  ),
  bytes_per_second_max: optional(
    wholeNumber(128, 10_000_000_000, 'bytes'),
    'no limit',
    'The same for all bytes of each client.',
  ),
  gateways: option(
    flag(),
    false,
    'Whether the clients are Tidegate gateways, whose numbered messages are recognised when they come again after a cut.',
  ),
})

const builtIn: Record<Profile, z.input<typeof listener>[]> = {
  edge: [{ type: 'tcp', bind: '127.0.0.1:1883' }],
  cloud: [
    {
      type: 'tls',
      bind: '0.0.0.0:8883',
      certificate: 'auto',
      client_certificate: 'required',
      mountpoint: 'g/{identity}/',
      gateways: true,
    },
    { type: 'tcp', bind: '127.0.0.1:1884' },
  ],
}

export function listenerSection(profile: Profile) {
  return option(z.array(listener), builtIn[profile], 'Where clients come in. One block for each address.')
}
