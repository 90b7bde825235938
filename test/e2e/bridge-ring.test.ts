/** Rings of brokers: what goes round ends. */
import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { client, startEdge, startMosquitto, watch } from './interop-stage.ts'

t.setTimeout(600_000)

for (const protocol of ['5', '3.1.1']) {
  t.test(`mosquitto#3011, nanomq#1733, vernemq#753: a ring of three brokers in ${protocol} falls quiet`, async (t) => {
    const mosquitto = await startMosquitto(t, '')
    const far = await startEdge(t, mirror('mosquitto', mosquitto.port, protocol))
    const near = await startEdge(t, mirror('mosquitto', mosquitto.port, protocol) + mirror('far', far.port, protocol))
    const watchers = [
      await watch(t, near.port, 'ring/#'),
      await watch(t, far.port, 'ring/#'),
      await watch(t, mosquitto.port, 'ring/#'),
    ]
    const copies = () => watchers.map(({ count }) => count)
    const publisher = await client(t, near.port)
    for (let tries = 0; tries < 100 && copies().includes(0); tries++) {
      await publisher.publishAsync('ring/probe', String(tries), { qos: 1 })
      await wait(100)
    }
    t.notOk(copies().includes(0), 'the ring is closed')
    await wait(3000)
    const before = copies()
    await wait(1000)
    t.same(copies(), before, 'and quiet')
    t.comment(`copies at near, far and mosquitto: ${before.join(', ')}`)
  })
}

function mirror(name: string, port: number, protocol: string): string {
  return `
[[bridge]]
name = "${name}"
address = "tcp://127.0.0.1:${port}"
protocol = "${protocol}"
reconnect_min_ms = 100
reconnect_max_ms = 500
out = []
both = [{ filter = "ring/#", qos = 1 }]
`
}
