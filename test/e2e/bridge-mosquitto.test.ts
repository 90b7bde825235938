/** The bridge of mosquitto 2 to us, in both versions of MQTT. */
import t from 'tap'
import { arrives, client, startEdge, startMosquitto, watch } from './interop-stage.ts'

t.setTimeout(600_000)

for (const [version, level] of [
  ['mqttv50', '5'],
  ['mqttv311', '3.1.1'],
] as const) {
  t.test(`the bridge of mosquitto to us in ${level}: both directions, and back after a kill`, async (t) => {
    const edge = await startEdge(t, '')
    const mosquitto = await startMosquitto(
      t,
      `connection up
address 127.0.0.1:${edge.port}
bridge_protocol_version ${version}
remote_clientid mosquitto-${version}
restart_timeout 1
topic up/# out 2 "" site/
topic cmd/# in 2 "" site/`,
    )
    const above = await watch(t, edge.port, 'site/up/#')
    const device = await client(t, mosquitto.port)
    const below = await watch(t, mosquitto.port, 'cmd/#')
    await arrives(device, above)
    const operator = await client(t, edge.port)
    for (const qos of [0, 1, 2] as const) {
      await device.publishAsync(`up/q${qos}`, `up ${qos}`, { qos })
      t.match(await above.next(), { topic: `site/up/q${qos}`, text: `up ${qos}` })
      await operator.publishAsync(`site/cmd/q${qos}`, `down ${qos}`, { qos })
      t.match(await below.next(), { topic: `cmd/q${qos}`, text: `down ${qos}` })
    }
    await device.publishAsync('up/kept', 'state', { qos: 1, retain: true })
    t.equal((await above.next()).text, 'state')
    const late = await watch(t, edge.port, 'site/up/kept')
    t.match(await late.next(), { text: 'state', retain: true })

    await edge.kill()
    for (let n = 1; n <= 5; n++) await device.publishAsync(`up/away/${n}`, String(n), { qos: 1, retain: true })
    await edge.start()
    const back = await watch(t, edge.port, 'site/up/away/#')
    const arrived = new Set<string>()
    while (arrived.size < 5) arrived.add((await back.next()).text)
    t.equal(arrived.size, 5)
  })
}
