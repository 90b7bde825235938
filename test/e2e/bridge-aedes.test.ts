/** Our bridge to aedes, which speaks 3.1.1 only and keeps everything in memory. */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { Aedes } from 'aedes'
import mqtt from 'mqtt'
import t, { type Test } from 'tap'
import { freePort } from '../../firmware-sim/free-port.ts'
import { arrives, bridgeWithPrefixes, client, startEdge, Watcher, watch } from './interop-stage.ts'

t.setTimeout(600_000)

t.test('our bridge to aedes: both directions, prefixes, every QoS, retained, and a restart', async (t) => {
  const port = await freePort()
  let stop = await startAedes(port)
  t.teardown(() => stop())
  const edge = await startEdge(t, bridgeWithPrefixes('aedes', port))
  const device = await client(t, edge.port)
  const below = await watch(t, edge.port, 'from/above/#')
  let { operator, above } = await connectAbove(t, port)
  await arrives(device, above)

  for (const qos of [0, 1, 2] as const) {
    await device.publishAsync(`up/q${qos}`, `reading ${qos}`, { qos, properties: { userProperties: { unit: 'C' } } })
    t.match(await above.next(), { topic: `site/up/q${qos}`, text: `reading ${qos}`, qos })
    await operator.publishAsync(`site/cmd/q${qos}`, `command ${qos}`, { qos })
    t.match(await below.next(), { topic: `from/above/cmd/q${qos}`, text: `command ${qos}`, qos })
  }
  await device.publishAsync('up/kept', 'state', { qos: 1, retain: true })
  t.equal((await above.next()).text, 'state')
  const late = await connectAbove(t, port, 'site/up/kept')
  t.match(await late.above.next(), { text: 'state', retain: true }, 'retained there')
  await above.quiet()

  await stop()
  for (let n = 1; n <= 20; n++) await device.publishAsync('up/n', String(n), { qos: 1, retain: true })
  stop = await startAedes(port)
  const again = await connectAbove(t, port)
  operator = again.operator
  above = again.above
  let last = ''
  while (last !== '20') last = (await above.next()).text
  t.pass('what waited came, the newest at the end')
  await operator.publishAsync('site/cmd/again', 'back', { qos: 1 })
  t.equal((await below.next()).text, 'back', 'it subscribed again, as aedes had forgotten everything')
})

/** @returns ends it with all its connections */
async function startAedes(port: number): Promise<() => Promise<void>> {
  const broker = await Aedes.createBroker()
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    broker.handle(socket)
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
    await new Promise<void>((resolve) => broker.close(() => resolve()))
  }
}

async function connectAbove(t: Test, port: number, filter = 'site/up/#') {
  const operator = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 4, reconnectPeriod: 100 })
  operator.on('error', () => undefined)
  t.teardown(() => operator.endAsync(true))
  const above = new Watcher(operator)
  await operator.subscribeAsync(filter, { qos: 2 })
  return { operator, above }
}
