/** What a long outage leaves on the disk of a gateway: it starts as quickly as ever, and the room comes back. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { MqttClient } from 'mqtt'
import t from 'tap'
import { bridgeTo, connect, payloadsAt, startNode, until } from './node-stage.ts'

t.setTimeout(600_000)

const messageCount = 2500
const payloadBytes = 4000
const batchCount = 500

/** Bytes that this process has read from files, pipes and sockets. */
function readByteCount(): number {
  return Number(/^rchar: (\d+)/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1])
}

/** Of all files below `folder`. */
function bytesBelow(folder: string): number {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return files.reduce((bytes, { parentPath, name }) => bytes + statSync(join(parentPath, name)).size, 0)
}

async function publishMany(device: MqttClient, count: number): Promise<void> {
  for (let n = 0; n < count; n += batchCount) {
    const batch = Array.from({ length: Math.min(batchCount, count - n) }, (_, index) => {
      return device.publishAsync('temp', String(n + index).padEnd(payloadBytes, '.'), { qos: 1 })
    })
    await Promise.all(batch)
  }
}

t.test('a backlog of 10 MB on the disk of a gateway whose cloud is away', async (t) => {
  const cloud = await startNode(t, 'cloud', 'above', '', { isStopped: true })
  const edge = await startNode(t, 'edge', 'gw', bridgeTo(`tcp://127.0.0.1:${cloud.port}`))
  const emptyBytes = bytesBelow(edge.dataDir)
  const device = await connect(t, edge.port)
  await device.publishAsync('state', 'on', { qos: 1, retain: true })
  await publishMany(device, messageCount - 1)
  await device.endAsync()
  t.equal((await edge.bridge()).backlogCount, messageCount)
  const fullBytes = bytesBelow(edge.dataDir)
  t.ok(fullBytes > messageCount * payloadBytes, `${fullBytes} bytes`)

  await t.test('greengrass-nucleus#1832: a start reads none of it', async (t) => {
    await edge.stop()
    const [readBefore, cpuBefore] = [readByteCount(), process.cpuUsage()]
    await edge.start()
    const cpu = process.cpuUsage(cpuBefore)
    const readBytes = readByteCount() - readBefore
    t.ok(readBytes < fullBytes / 10, `${readBytes} bytes read of ${fullBytes}`)
    t.ok(cpu.user + cpu.system < 2_000_000, `listens after ${Math.round((cpu.user + cpu.system) / 1000)} ms of CPU`)
    t.equal((await edge.bridge()).backlogCount, messageCount)
  })

  await t.test('iotedge#3981: the room on the disk comes back when it has gone up', async (t) => {
    await cloud.start()
    await until(async () => (await edge.bridge()).backlogCount === 0)
    t.equal((await edge.bridge()).forwardedCount >= messageCount, true)
    for (let tries = 0; tries < 300 && bytesBelow(edge.dataDir) > fullBytes / 4; tries++) await wait(100)
    const leftBytes = bytesBelow(edge.dataDir)
    t.ok(leftBytes <= fullBytes / 4, `${leftBytes} bytes of ${fullBytes}, ${emptyBytes} at the beginning`)
    await edge.stop()
    await edge.start()
    const kept = await payloadsAt(t, edge.port, 'state')
    await until(() => kept.length > 0)
    t.strictSame(kept, ['on'], 'what was not trimmed is there')
  })
})
