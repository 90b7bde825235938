/** `tidegate serial inspect` on real ttys: a free port by its path, and a port of a running broker by its name. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import t from 'tap'
import { WiredDevice } from '../../firmware-sim/wired-device.ts'
import { encodeFrame, FrameFlag, FrameType } from '../../src/gateway/link-frame.ts'
import { Lines, runCommand, startCommand } from '../fixtures/tidegate-command.ts'
import { openLine, pluggedPair, until } from '../gateway/pty-rig.ts'
import { startEdge } from './interop-stage.ts'

t.setTimeout(600_000)

const hello = { type: FrameType.data, flags: FrameFlag.retransmitted, seq: 7, ack: 3, payload: Buffer.from('hello') }

t.test('a free port shows frames and faults as they come, and a sum at the end', async (t) => {
  const pty = await pluggedPair(t)
  const inspector = startCommand(['serial', 'inspect', pty.hostPath])
  const lines = new Lines(inspector.stdout)
  t.match(await lines.with('listening on'), `--- listening on ${pty.hostPath} at 115200 baud`)
  const { line } = await openLine(pty.devicePath)
  line.write(encodeFrame(hello))
  t.match(await lines.with('DATA'), /^ +\d+\.\d{3} DATA {5}seq 7 ack 3 RETRANSMITTED {2}5 bytes "hello"$/)
  const damaged = encodeFrame(hello)
  damaged[6] = (damaged[6] ?? 0) ^ 1
  line.write(damaged)
  t.match(await lines.with('garbage'), /garbage {2}wrong checksum or grammar, 11 bytes/)
  t.match(await lines.with('|'), /0b 21 07 .*\|.*llo/)
  line.write(Buffer.concat([Buffer.from([0, 9, 1, 0]), Buffer.alloc(5000, 1), Buffer.from([0])]))
  t.match(await lines.with('garbage'), /no frame, no text, 2 bytes/)
  t.match(await lines.with('garbage'), /longer than any frame or line, \d+ bytes, the first:/)
  inspector.kill('SIGINT')
  t.match(await lines.with('units'), /--- \d+ bytes, 1 units, 1 checksum, 1 cobs, 1 oversize/)
  if (inspector.exitCode === null) await once(inspector, 'exit')
  t.equal(inspector.exitCode, 0)
  line.close()
})

for (const scheme of ['tcp', 'rfc2217']) {
  t.test(`a port at another machine is looked at the same way: ${scheme}`, async (t) => {
    // Our frame has no byte that Telnet would escape.
    const server = createServer()
    t.teardown(() => server.close())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`
    const connection = once(server, 'connection') as Promise<[Socket]>
    const inspector = startCommand(['serial', 'inspect', url])
    const lines = new Lines(inspector.stdout)
    const [socket] = await connection
    t.match(await lines.with('listening on'), `--- listening on ${url}`)
    socket.write(encodeFrame(hello))
    t.match(await lines.with('DATA'), /DATA {5}seq 7 ack 3 RETRANSMITTED {2}5 bytes "hello"$/)
    const gone = once(inspector, 'exit')
    socket.destroy()
    await gone
    t.equal(inspector.exitCode, 1, 'a port that goes away is said')
  })
}

t.test('a port of the broker is seen through the broker, both ways', async (t) => {
  const pty = await pluggedPair(t)
  const edge = await startEdge(t, `[[serial]]\nname = "board"\npath = "${pty.hostPath}"\n`)
  const where = ['--data-dir', edge.dataDir]
  const inspector = startCommand(['serial', 'inspect', 'board', ...where])
  const lines = new Lines(inspector.stdout)
  t.match(await lines.with('watching'), 'watching board: < from the device, > to it')
  const wired = new WiredDevice(
    { id: 's1', baudRate: 115_200, ratePerSecond: 5, readingCount: 1000 },
    { path: pty.devicePath, seed: 1 },
  )
  t.teardown(() => wired.close())
  await until(() => wired.tty.isOpen)
  wired.start()
  t.match(await lines.with('garbage'), /< garbage {2}no frame/, 'the banner of the boot loader')
  t.match(await lines.with('< RST'), /< RST {6}device "s1" "firmware-sim" boot [0-9a-f]{8} .* reset power-on/)
  t.match(await lines.with('> RSTACK'), /> RSTACK {3}host .* window 7/)
  t.match(await lines.with('< DATA'), /< DATA .* seq 0 .*MQTT/)
  t.match(await lines.with('> DATA'), String.raw`4 bytes " \x02\x00\x00"`, 'CONNACK')

  const [taken, unknown, ports] = await Promise.all([
    runCommand(['serial', 'inspect', pty.hostPath]),
    runCommand(['serial', 'inspect', 'porch', ...where]),
    runCommand(['ctl', 'serial', ...where]),
  ])
  t.match(taken, { code: 1, stderr: /in use by another program: .*tidegate ctl serial/ })
  t.match(unknown, { code: 1, stderr: /no such serial port: porch/ })
  t.match(ports.stdout, /^PORT +PROTOCOL +STATE +DEVICE .*RTT P50\/P99 +LOAD/)
  t.match(ports.stdout, /\nboard +link +online +s1 +\d+ +[1-9]\d* +\d+ +\d+ \/ \d+ ms +\d+ %/)

  inspector.kill('SIGINT')
  if (inspector.exitCode === null) await once(inspector, 'exit')
  t.equal(inspector.exitCode, 0)
})

t.test('a broker that is not there is named', async (t) => {
  const none = await runCommand(['serial', 'inspect', 'board', '--data-dir', '/nowhere'])
  t.match(none, { code: 1, stderr: /nowhere/ })
})
