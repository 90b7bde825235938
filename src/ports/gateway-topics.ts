/**
 * Topics that a gateway and the broker above it use to talk about the bridge itself. At the gateway's end they begin
 * with `$bridge/`; in the broker above, `$bridge/{gateway}/` stands for that, whatever the mountpoint. So no client
 * sees or forges them, and one gateway cannot speak for another.
 *
 * Whether a bridge is up is said where mosquitto says it, `$SYS/broker/connection/{client id}/state`: other brokers
 * show it as they would show their own, and mosquitto's bridges tell a Tidegate above them the same way.
 */
const tree = '$bridge/'
const dollar = 0x24
const connectionState = /^\$SYS\/broker\/connection\/([^/]+)\/state$/

/** In CONNECT and CONNACK: this end is a Tidegate that speaks about the bridge. */
export const bridgeProperty = 'x-b-bridge'

/** A topic level for a gateway known by `name`, its identity or client id. */
export function gatewayLevel(name: string): string {
  return name.replace(/[/+#]/g, '_')
}

/** What the topic `topic` of a gateway is called above; undefined when it is not about the bridge. */
export function mountBridgeTopic(topic: string, gateway: string): string | undefined {
  if (topic.charCodeAt(0) !== dollar) return undefined
  if (topic.startsWith(tree)) return `${tree}${gateway}/${topic.slice(tree.length)}`
  const clientId = connectionState.exec(topic)?.[1]
  return clientId === undefined ? undefined : `${tree}${gateway}/state/${clientId}`
}

/** `topic` or filter is about bridges, and so nobody's business but theirs. */
export function isAboutBridges(topic: string): boolean {
  return topic.startsWith(tree)
}

/** The reverse of `mountBridgeTopic`, for topics below `$bridge/`. */
export function unmountBridgeTopic(topic: string, gateway: string): string | undefined {
  if (topic.charCodeAt(0) !== dollar) return undefined
  const own = `${tree}${gateway}/`
  return topic.startsWith(own) ? tree + topic.slice(own.length) : undefined
}

/** Where a bridge tells whether it is up. @example stateTopic('edge-1') // '$SYS/broker/connection/edge-1/state' */
export function stateTopic(clientId: string): string {
  return `$SYS/broker/connection/${clientId.replace(/[/+#]/g, '_')}/state`
}
