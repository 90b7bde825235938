/**
 * MQTT 3.1.1 clients in C that are not ours (libmosquitto, in mosquitto_pub and mosquitto_sub) as the firmware of a
 * serial device: through the C library of the link, a pty and the edge broker.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { PtyPair } from '../../firmware-sim/pty.ts'
import { Lines } from '../fixtures/tidegate-command.ts'
import { client, startEdge, watch } from './interop-stage.ts'

t.setTimeout(600_000)

const source = fileURLToPath(new URL('../../firmware-sim/c-device/relay.c', import.meta.url))
const flags = '-std=c99 -Wall -Wextra -Werror -g -fsanitize=address,undefined -fno-sanitize-recover=all'.split(' ')

const stage = await setUp(t)

t.test('what mosquitto_pub sends with QoS 1 arrives in order and once', async (t) => {
  const above = await watch(t, stage.edgePort, 'dev/one/#')
  const lines = Array.from({ length: 200 }, (_, n) => `reading ${n} ${'x'.repeat(n)}`)
  const publisher = device('mosquitto_pub', ['-t', 'dev/one', '-q', '1', '-l'])
  publisher.stdin?.end(`${lines.join('\n')}\n`)
  t.equal(await endOf(publisher), 0, 'everything was acknowledged')
  const arrived: string[] = []
  while (arrived.length < lines.length) arrived.push((await above.next()).text)
  t.strictSame(arrived, lines)
})

t.test('mosquitto_pub sends with QoS 2, retained, and longer than any frame', async (t) => {
  const above = await watch(t, stage.edgePort, 'dev/two')
  const text = 'long '.repeat(2000)
  const publisher = device('mosquitto_pub', ['-t', 'dev/two', '-q', '2', '-r', '-s'])
  publisher.stdin?.end(text)
  t.equal(await endOf(publisher), 0)
  t.match(await above.next(), { text, qos: 2, retain: false })
  const late = await watch(t, stage.edgePort, 'dev/two')
  t.match(await late.next(), { text, retain: true })
})

t.test('mosquitto_sub hears every QoS, and its will comes when it is killed', async (t) => {
  const operator = await client(t, stage.edgePort)
  const above = await watch(t, stage.edgePort, 'dev/three/#')
  const will = ['--will-topic', 'dev/three/state', '--will-payload', 'gone', '--will-qos', '1']
  const subscriber = device('mosquitto_sub', ['-t', 'cmd/#', '-q', '2', '-F', '%t %q %p', ...will])
  const lines = new Lines(subscriber.stdout)
  // Retained, so that it does not matter which comes first: it, or the subscription.
  await operator.publishAsync('cmd/first', 'there?', { qos: 1, retain: true })
  t.equal(await lines.with('cmd/first'), 'cmd/first 1 there?')
  for (const qos of [0, 1, 2] as const) {
    await operator.publishAsync(`cmd/q${qos}`, `do ${qos}`, { qos })
    t.equal(await lines.with('cmd/'), `cmd/q${qos} ${qos} do ${qos}`)
  }
  subscriber.kill('SIGKILL')
  t.match(await above.next(), { topic: 'dev/three/state', text: 'gone' })
})

t.test('a client that says goodbye leaves no will behind', async (t) => {
  const above = await watch(t, stage.edgePort, 'dev/four/#')
  const will = ['--will-topic', 'dev/four/state', '--will-payload', 'gone']
  for (const text of ['a', 'b', 'c']) {
    const publisher = device('mosquitto_pub', ['-t', 'dev/four/reading', '-q', '1', '-m', text, ...will])
    t.equal(await endOf(publisher), 0)
    t.match(await above.next(), { topic: 'dev/four/reading', text })
  }
  t.strictSame(await above.quiet(), [])
})

/** An edge broker with one serial port, and at the other end of the cable the relay. */
async function setUp(t: Test): Promise<{ edgePort: number; relayPort: string }> {
  const folder = t.testdir()
  const relay = join(folder, 'relay')
  const compiled = promisify(execFile)('gcc', [...flags, '-o', relay, source])
  const pty = new PtyPair(join(folder, 'host'), join(folder, 'device'))
  await pty.plug()
  t.teardown(() => pty.unplug())
  const edge = await startEdge(t, `[[serial]]\nname = "board"\npath = "${pty.hostPath}"\n`)
  await compiled
  const child = spawn(relay, [pty.devicePath, '115200', 's1'], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill())
  return { edgePort: edge.port, relayPort: await new Lines(child.stdout).with('') }
}

function device(program: string, words: readonly string[]): ChildProcess {
  const broker = ['-h', '127.0.0.1', '-p', stage.relayPort, '-V', 'mqttv311', '-i', 'c-client']
  const child = spawn(program, [...broker, ...words], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

async function endOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null) await once(child, 'exit')
  return child.exitCode
}
