/** Requests and answers across a bridge to a 5.0 broker of another make: mosquitto. */
import mqtt, { type IClientPublishOptions, type MqttClient } from 'mqtt'
import t, { type Test } from 'tap'
import { startMosquitto } from './interop-stage.ts'
import { bridgeTo, connect, startNode, until } from './node-stage.ts'

t.setTimeout(600_000)

interface Heard {
  readonly topic: string
  readonly text: string
  readonly responseTopic: string | undefined
  readonly correlation: string | undefined
}

async function hears(client: MqttClient, filter: string): Promise<Heard[]> {
  const heard: Heard[] = []
  client.on('message', (topic, payload, { properties }) => {
    // A client hears of what it asked for elsewhere, too.
    if (!topic.startsWith(filter.slice(0, -1))) return
    const { responseTopic, correlationData } = properties ?? {}
    heard.push({ topic, text: payload.toString(), responseTopic, correlation: correlationData?.toString('hex') })
  })
  await client.subscribeAsync(filter, { qos: 1 })
  return heard
}

async function next(heard: Heard[]): Promise<Heard> {
  await until(() => heard.length > 0)
  return heard.shift() as Heard
}

const asked = (responseTopic: string): IClientPublishOptions => ({
  qos: 1,
  properties: { responseTopic, correlationData: Buffer.from([7, 0, 255]) },
})

async function stage(t: Test, more: string) {
  const mosquitto = await startMosquitto(t, '')
  const edge = await startNode(t, 'edge', 'gw', bridgeTo(`tcp://127.0.0.1:${mosquitto.port}`, more))
  await until(async () => (await edge.bridge()).state === 'online')
  const above = await mqtt.connectAsync(`mqtt://127.0.0.1:${mosquitto.port}`, { protocolVersion: 5 })
  t.teardown(() => above.endAsync(true))
  return { edge, above, below: await connect(t, edge.port) }
}

const rules =
  '[[bridge.out]]\nfilter = "ask/#"\nremote_prefix = "site/"\n[[bridge.in]]\nfilter = "do/#"\nremote_prefix = "site/"\n'

t.test(
  'mosquitto as the remote broker: requests are answered both ways, and after a restart no answer goes astray',
  async (t) => {
    const { edge, above, below } = await stage(t, `own_response_topics = true\n${rules}`)
    const [requests, answers] = [await hears(above, 'site/ask/#'), await hears(below, 'me/+')]
    await below.publishAsync('ask/level', 'how much?', asked('me/level'))
    const request = await next(requests)
    t.match(request, { text: 'how much?', correlation: '0700ff', responseTopic: /^response\/edge-gw\/[0-9a-z]+-1$/ })
    await above.publishAsync(request.responseTopic ?? '', '42', { qos: 1 })
    t.match(await next(answers), { topic: 'me/level', text: '42' })

    const [commands, results] = [await hears(below, 'do/#'), await hears(above, 'apps/+')]
    await above.publishAsync('site/do/open', 'please', asked('apps/7'))
    const command = await next(commands)
    t.match(command, { topic: 'do/open', correlation: '0700ff', responseTopic: /^response\/up\/[0-9a-z]+-1$/ })
    await below.publishAsync(command.responseTopic ?? '', 'done', { qos: 1 })
    t.match(await next(results), { topic: 'apps/7', text: 'done' })

    // The token of a former run stands for nothing, whatever is asked since.
    await below.publishAsync('ask/late', 'slow?', asked('me/late'))
    const late = await next(requests)
    await edge.stop()
    await edge.start()
    await until(async () => (await edge.bridge()).state === 'online')
    await until(() => below.connected)
    await below.subscribeAsync('me/+', { qos: 1 })
    await below.publishAsync('ask/other', 'new?', asked('me/other'))
    const other = await next(requests)
    t.not(other.responseTopic, late.responseTopic, 'no token is given twice')
    await above.publishAsync(late.responseTopic ?? '', 'too late', { qos: 1 })
    await above.publishAsync(other.responseTopic ?? '', 'in time', { qos: 1 })
    t.match(await next(answers), { topic: 'me/other', text: 'in time' })
    t.strictSame(answers, [], 'and nobody got the other answer')
  },
)
