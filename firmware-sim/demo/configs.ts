/** Configuration files of the demo: small, like those a user would write. */

export function cloudConfig(values: { folder: string; certs: string; tls: number; tcp: number }): string {
  const { folder, certs, tls, tcp } = values
  return `name = "cloud"
data_dir = "${folder}/cloud"

[[listener]]
type = "tls"
bind = "127.0.0.1:${tls}"
certificate = "${certs}/server.crt"
private_key = "${certs}/server.key"
ca = "${certs}/ca.crt"
client_certificate = "required"
mountpoint = "g/{identity}/"
gateways = true

[[listener]]
type = "tcp"
bind = "127.0.0.1:${tcp}"
`
}

export function edgeConfig(values: {
  folder: string
  certs: string
  gateway: string
  tcp: number
  uplink: number
  serials: readonly { readonly id: string; readonly path: string }[]
}): string {
  const { folder, certs, gateway, tcp, uplink, serials } = values
  const serialBlocks = serials.map(({ id, path }) => `\n[[serial]]\nname = "${id}"\npath = "${path}"\n`)
  return `name = "${gateway}"
data_dir = "${folder}/edge"

[[listener]]
type = "tcp"
bind = "127.0.0.1:${tcp}"
${serialBlocks.join('')}
[[bridge]]
name = "cloud"
address = "tls://localhost:${uplink}"
ca = "${certs}/ca.crt"
certificate = "${certs}/${gateway}.crt"
private_key = "${certs}/${gateway}.key"
reconnect_max_ms = 3000
connect_timeout_ms = 3000
`
}
