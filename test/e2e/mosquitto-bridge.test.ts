/** A bridge of mosquitto that comes in, as a process: its private protocol level keeps retain flags and echoes nothing. */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import mqtt from 'mqtt'
import t, { type Test } from 'tap'
import { freePort } from '../../firmware-sim/free-port.ts'
import { Lines, startCommand } from '../fixtures/tidegate-command.ts'

t.test('a mosquitto bridge comes in by its private level', async (t) => {
  const { ours, theirs } = await bridged(t)
  const near = await client(t, theirs)
  const far = await client(t, ours)
  await near.subscribeAsync('up/#', { qos: 1 })
  await far.subscribeAsync('up/#', { qos: 1 })
  const heardNear = payloadsOf(near)
  const heardFar = payloadsOf(far)

  await near.publishAsync('up/1', 'from mosquitto', { qos: 1 })
  await far.publishAsync('up/2', 'from here', { qos: 1 })
  await until(() => heardNear.includes('from here') && heardFar.includes('from mosquitto'))
  await far.publishAsync('up/3', 'end', { qos: 1 })
  await until(() => heardNear.includes('end'))
  t.same(heardNear, ['from mosquitto', 'from here', 'end'], 'no echo came back over the bridge')
  t.same(heardFar, ['from mosquitto', 'from here', 'end'])

  await far.publishAsync('up/kept', 'state', { qos: 1, retain: true })
  await until(() => heardNear.includes('state'))
  const late = await client(t, theirs)
  const retained = new Promise<boolean>((resolve) => {
    late.on('message', (topic, _payload, { retain }) => {
      if (topic === 'up/kept') resolve(retain)
    })
  })
  await late.subscribeAsync('up/kept')
  t.equal(await retained, true, 'mosquitto retained it, so the flag came through')
})

/** An edge and a mosquitto with a bridge to it. */
async function bridged(t: Test): Promise<{ ours: number; theirs: number }> {
  const folder = t.testdir({})
  const ours = await freePort()
  const theirs = await freePort()
  const config = join(folder, 'edge.toml')
  writeFileSync(
    config,
    `name = "e"\ndata_dir = "${folder}/data"\n\n[[listener]]\ntype = "tcp"\nbind = "127.0.0.1:${ours}"\n`,
  )
  const edge = startCommand(['edge', '--config', config])
  t.teardown(() => edge.kill('SIGKILL'))
  await new Lines(edge.stderr).with('listener open')
  const bridge = `connection tidegate
address 127.0.0.1:${ours}
bridge_protocol_version mqttv311
try_private true
notifications false
remote_clientid mosquitto-bridge
topic up/# both 1
`
  writeFileSync(join(folder, 'mosquitto.conf'), `listener ${theirs} 127.0.0.1\nallow_anonymous true\n${bridge}`)
  const mosquitto = spawn('mosquitto', ['-v', '-c', join(folder, 'mosquitto.conf')])
  t.teardown(() => mosquitto.kill('SIGKILL'))
  await new Lines(mosquitto.stderr).with('Received SUBACK from')
  return { ours, theirs }
}

async function client(t: Test, port: number): Promise<mqtt.MqttClient> {
  const connected = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0 })
  t.teardown(() => connected.endAsync(true))
  return connected
}

function payloadsOf(source: mqtt.MqttClient): string[] {
  const payloads: string[] = []
  source.on('message', (_topic, payload) => payloads.push(payload.toString()))
  return payloads
}

async function until(isTrue: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000
  while (!isTrue()) {
    if (performance.now() > deadline) throw new Error('waited in vain')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
