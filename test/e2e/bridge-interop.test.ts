/** Our bridge to mosquitto 2 in both versions of MQTT, real processes. */
import t, { type Test } from 'tap'
import { arrives, bridgeWithPrefixes, client, startEdge, startMosquitto, watch } from './interop-stage.ts'

t.setTimeout(600_000)

for (const protocol of ['5', '3.1.1'] as const) {
  t.test(`our bridge to mosquitto in ${protocol}: both directions, prefixes, every QoS, retained`, async (t) => {
    const stage = await ourBridge(t, protocol)
    const above = await watch(t, stage.mosquitto.port, 'site/#')
    const device = await client(t, stage.edge.port)
    for (const qos of [0, 1, 2] as const) {
      await device.publishAsync(`up/q${qos}`, `reading ${qos}`, { qos })
      t.match(await above.next(), { topic: `site/up/q${qos}`, text: `reading ${qos}`, qos })
    }
    await device.publishAsync('up/kept', 'state', {
      qos: 1,
      retain: true,
      properties: { contentType: 'text/plain', userProperties: { unit: 'C' } },
    })
    const live = await above.next()
    t.equal(live.text, 'state')
    if (protocol === '5') {
      t.equal(live.packet.properties?.contentType, 'text/plain')
      t.match(live.packet.properties?.userProperties, { unit: 'C' })
    }
    const late = await watch(t, stage.mosquitto.port, 'site/up/kept')
    t.match(await late.next(), { text: 'state', retain: true }, 'retained there')

    const below = await watch(t, stage.edge.port, 'from/above/#')
    const operator = await client(t, stage.mosquitto.port)
    for (const qos of [0, 1, 2] as const) {
      await operator.publishAsync(`site/cmd/q${qos}`, `command ${qos}`, { qos })
      t.match(await below.next(), { topic: `from/above/cmd/q${qos}`, text: `command ${qos}`, qos })
    }
    await above.drain(3)
    await operator.publishAsync('site/cmd/kept', 'on', { qos: 1, retain: true })
    t.equal((await below.next()).text, 'on')
    const lateBelow = await watch(t, stage.edge.port, 'from/above/cmd/kept')
    t.match(await lateBelow.next(), { text: 'on', retain: true }, 'retained here')
    t.same(await above.quiet(), ['site/cmd/kept on'], 'nothing came back up')
  })

  t.test(`our bridge to mosquitto in ${protocol}: both are killed in turn and nothing is lost`, async (t) => {
    const stage = await ourBridge(t, protocol)
    const device = await client(t, stage.edge.port)
    await stage.mosquitto.kill()
    for (let n = 1; n <= 20; n++) await device.publishAsync(`up/${n}`, String(n), { qos: 1, retain: true })
    await stage.mosquitto.start()
    const above = await watch(t, stage.mosquitto.port, 'site/up/#')
    const arrived = new Set<string>()
    while (arrived.size < 20) arrived.add((await above.next()).text)
    t.pass('all that was kept while mosquitto was away')

    const last = await watch(t, stage.mosquitto.port, 'site/up/last')
    await device.publishAsync('up/last', 'before', { qos: 2 })
    t.equal((await last.next()).text, 'before')
    await stage.edge.kill()
    await stage.edge.start()
    const again = await client(t, stage.edge.port)
    await again.publishAsync('up/last', 'after', { qos: 2 })
    t.equal((await last.next()).text, 'after', 'QoS 2 comes once, whatever the bridge had time to remember')
    t.same(await last.quiet(), [])
  })
}

async function ourBridge(t: Test, protocol: string) {
  const mosquitto = await startMosquitto(t, '')
  const edge = await startEdge(t, bridgeWithPrefixes('mosquitto', mosquitto.port, `protocol = "${protocol}"\n`))
  const probe = await watch(t, mosquitto.port, 'site/up/probe')
  await arrives(await client(t, edge.port), probe)
  return { mosquitto, edge }
}
