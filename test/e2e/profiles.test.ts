/** Both profiles as processes, with clients that are not ours: `mosquitto_pub` and `mosquitto_sub`, over TCP and TLS. */
import { type ChildProcess, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import mqtt from 'mqtt'
import t, { type Test } from 'tap'
import { freePort } from '../../firmware-sim/free-port.ts'
import { makeCertificates } from '../../src/adapters/certificates/certificate-directory.ts'
import { Lines, startCommand } from '../fixtures/tidegate-command.ts'

/** A message that is not there by then does not come. */
const messageMsMax = 60_000

const versions = ['mqttv31', 'mqttv311', 'mqttv5'] as const

t.test('edge: mosquitto clients publish and subscribe over TCP, in every version and QoS', async (t) => {
  const { connection } = await startEdge(t)
  for (const version of versions) {
    for (const qos of ['0', '1', '2']) {
      const topic = `tcp/${version}/${qos}`
      const subscriber = await subscribe(t, [...connection, '-V', version, '-t', 'tcp/#', '-q', qos])
      await publish([...connection, '-V', version, '-t', topic, '-m', 'hello', '-q', qos])
      t.equal(await subscriber.message(), `${topic} hello`)
      await subscriber.end()
    }
    await publish([...connection, '-V', version, '-t', `kept/${version}`, '-m', 'last', '-q', '1', '-r'])
    const late = await subscribe(t, [...connection, '-V', version, '-t', `kept/${version}`, '-q', '1'])
    t.equal(await late.message(), `kept/${version} last`)
    await late.end()
  }
})

t.test('edge: a durable mosquitto session gets what came while it was away, also after SIGKILL', async (t) => {
  const edge = await startEdge(t)
  const session = ['-i', 'away', '-c', '-t', 'away/#', '-q', '1']
  const first = await subscribe(t, [...edge.connection, ...session])
  await first.end()
  for (let n = 1; n <= 5; n++) await publish([...edge.connection, '-t', 'away/n', '-m', String(n), '-q', '1'])
  await edge.kill()
  await edge.restart()
  const second = await subscribe(t, [...edge.connection, ...session])
  for (let n = 1; n <= 5; n++) t.equal(await second.message(), `away/n ${n}`)
  await second.end()
})

t.test('edge: the will of a mosquitto client that is killed is published', async (t) => {
  const { connection } = await startEdge(t)
  const watcher = await subscribe(t, [...connection, '-t', 'will/#'])
  const victim = await subscribe(t, [...connection, '-t', 'x', '--will-topic', 'will/victim', '--will-payload', 'gone'])
  victim.child.kill('SIGKILL')
  t.equal(await watcher.message(), 'will/victim gone')
  await watcher.end()
})

t.test('edge: SIGTERM tells 5.0 clients that it shuts down, and ends with 0 within five seconds', async (t) => {
  const edge = await startEdge(t)
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${edge.port}`, { protocolVersion: 5, reconnectPeriod: 0 })
  t.teardown(() => client.endAsync(true))
  const told = new Promise<number | undefined>((resolve) => {
    client.once('disconnect', ({ reasonCode }) => resolve(reasonCode))
  })
  const startedAtMs = performance.now()
  t.equal(await edge.terminate(), 0)
  t.ok(performance.now() - startedAtMs < 5000)
  t.equal(await told, 0x8b)
})

t.test('cloud: gateways come in over TLS with a certificate, and arrive under their own prefix', async (t) => {
  const { tls, connection, certs } = await startCloud(t)
  for (const version of versions.slice(1)) {
    const local = await subscribe(t, [...connection, '-V', version, '-t', 'g/#', '-q', '1'])
    const gateway = [...tls, '--cert', `${certs}/gw1.crt`, '--key', `${certs}/gw1.key`, '-V', version]
    await publish([...gateway, '-t', 'room/1', '-m', '21', '-q', '1'])
    t.equal(await local.message(), 'g/gw1/room/1 21')
    await publish([...gateway, '-t', 'g/gw2/room', '-m', 'forged', '-q', '1'])
    t.equal(await local.message(), 'g/gw1/g/gw2/room forged', 'no way into the topics of another')

    const down = await subscribe(t, [...gateway, '-t', 'cmd/#', '-q', '1'])
    await publish([...connection, '-t', 'g/gw1/cmd/led', '-m', 'on', '-q', '1'])
    t.equal(await down.message(), 'cmd/led on')
    await down.end()
    await local.end()
  }
})

t.test('cloud: without a certificate of its CA nobody comes in', async (t) => {
  const { tls, certs } = await startCloud(t)
  await makeCertificates({ directory: `${certs}-other`, hosts: [], clients: ['gw1'], force: false })
  const none = await run('mosquitto_pub', [...tls, '-t', 'a', '-m', 'b', '-q', '1'])
  t.not(none.code, 0)
  const stranger = ['--cert', `${certs}-other/gw1.crt`, '--key', `${certs}-other/gw1.key`]
  const forged = await run('mosquitto_pub', [...tls, ...stranger, '-t', 'a', '-m', 'b', '-q', '1'])
  t.not(forged.code, 0)
})

async function startEdge(t: Test) {
  const folder = t.testdir({})
  const port = await freePort()
  const config = join(folder, 'edge.toml')
  const listener = `[[listener]]\ntype = "tcp"\nbind = "127.0.0.1:${port}"\n`
  writeFileSync(config, `name = "e"\ndata_dir = "${folder}/data"\n\n${listener}`)
  let child = await start(t, ['edge', '--config', config])
  return {
    port,
    connection: ['-h', '127.0.0.1', '-p', String(port)],
    /** Resolves with the exit code. */
    async terminate(): Promise<number | null> {
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      return ((await exited) as [number | null])[0]
    },
    async kill() {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    },
    async restart() {
      child = await start(t, ['edge', '--config', config])
    },
  }
}

async function startCloud(t: Test) {
  const folder = t.testdir({})
  const certs = join(folder, 'certs')
  await makeCertificates({ directory: certs, hosts: ['localhost'], clients: ['gw1'], force: false })
  const tlsPort = await freePort()
  const tcpPort = await freePort()
  const config = join(folder, 'cloud.toml')
  writeFileSync(
    config,
    `name = "c"
data_dir = "${folder}/data"

[[listener]]
type = "tcp"
bind = "127.0.0.1:${tcpPort}"

[[listener]]
type = "tls"
bind = "127.0.0.1:${tlsPort}"
certificate = "${certs}/server.crt"
private_key = "${certs}/server.key"
ca = "${certs}/ca.crt"
client_certificate = "required"
mountpoint = "g/{identity}/"
gateways = true
`,
  )
  await start(t, ['cloud', '--config', config], 2)
  return {
    certs,
    connection: ['-h', '127.0.0.1', '-p', String(tcpPort)],
    tls: ['-h', 'localhost', '-p', String(tlsPort), '--cafile', `${certs}/ca.crt`],
  }
}

/** Resolves once it has opened its listeners. */
async function start(t: Test, args: readonly string[], listenerCount = 1): Promise<ChildProcess> {
  const child = startCommand(args)
  t.teardown(() => child.kill('SIGKILL'))
  const lines = new Lines(child.stderr)
  for (let opened = 0; opened < listenerCount; opened++) await lines.with('listener open')
  return child
}

/** A `mosquitto_sub` that is subscribed. */
async function subscribe(t: Test, args: readonly string[]) {
  // Its output is a pipe here, and without stdbuf it would come in blocks.
  const child = spawn('stdbuf', ['-oL', 'mosquitto_sub', '-d', '-F', '> %t %p', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  // What waited for a durable session comes before SUBACK, so nothing may be skipped.
  const messages: string[] = []
  const news = new EventEmitter()
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.startsWith('> ')) messages.push(line.slice(2))
    if (line.includes('received SUBACK')) news.emit('suback')
    news.emit('line')
  })
  await once(news, 'suback')
  return {
    child,
    async message(): Promise<string | undefined> {
      while (messages.length === 0) await once(news, 'line', { signal: AbortSignal.timeout(messageMsMax) })
      return messages.shift()
    },
    async end(): Promise<void> {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    },
  }
}

async function publish(args: readonly string[]): Promise<void> {
  const { code, output } = await run('mosquitto_pub', args)
  if (code !== 0) throw new Error(`mosquitto_pub ended with ${code}: ${output}`)
}

async function run(command: string, args: readonly string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
  }
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, output }
}
