/** `tidegate ctl delayed` asks a broker that runs: what waits is listed, and one that is cancelled is not published. */
import { connectAsync } from 'mqtt'
import t from 'tap'
import { runCommand } from '../fixtures/tidegate-command.ts'
import { startEdge } from './interop-stage.ts'

t.setTimeout(600_000)

t.test('delayed messages are listed and cancelled, and the others come in their time', async (t) => {
  const edge = await startEdge(t, '')
  const where = ['--data-dir', edge.dataDir]
  const client = await connectAsync(`mqtt://127.0.0.1:${edge.port}`)
  t.teardown(() => client.endAsync(true))
  await client.subscribeAsync('valve/#', { qos: 1 })
  await client.publishAsync('$delayed/3600/valve/late', 'late', { qos: 1, retain: true })
  await client.publishAsync('$delayed/4000/valve/never', 'never', { qos: 1 })
  const received = new Promise<string>((resolve) => {
    client.on('message', (topic, payload) => resolve(`${topic} ${payload}`))
  })
  await client.publishAsync('$delayed/5/valve/soon', 'soon', { qos: 1 })

  const listed = await runCommand(['ctl', 'delayed', 'list', ...where])
  const lines = listed.stdout.trim().split('\n')
  const idOf = (topic: string) => /^\d+/.exec(lines.find((line) => line.includes(topic)) ?? '')?.[0] ?? ''
  t.match(
    lines.find((line) => line.includes('valve/late')),
    /^\d+ +3[56]\d\d s +valve\/late +1 +yes/,
  )
  const id = idOf('valve/never')
  const cancelled = await runCommand(['ctl', 'delayed', 'cancel', id, ...where])
  t.match(cancelled, { code: 0, stdout: `${id} is cancelled` })
  const again = await runCommand(['ctl', 'delayed', 'cancel', id, ...where])
  t.match(again.stdout, `nothing waits under ${id}`)

  t.equal(await received, 'valve/soon soon')
  const left = await runCommand(['ctl', 'delayed', ...where])
  t.match(left.stdout, 'valve/late')
  t.notMatch(left.stdout, /never|soon/)
})
