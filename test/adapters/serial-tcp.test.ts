/** Serial ports over TCP, against a small telnet server that keeps what it is told. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { TcpSerialDriver } from '../../src/adapters/serial-tcp/driver.ts'
import { TelnetDecoder } from '../../src/adapters/serial-tcp/telnet.ts'
import type { SerialLine } from '../../src/ports/serial.ts'
import { until } from '../gateway/pty-rig.ts'

class Far {
  readonly server: Server
  socket: Socket | undefined
  received = Buffer.alloc(0)

  constructor() {
    this.server = createServer((socket) => {
      this.socket = socket
      socket.on('data', (chunk) => {
        this.received = Buffer.concat([this.received, chunk])
      })
      socket.on('error', () => {})
    })
  }

  static async listen(t: Test): Promise<Far> {
    const far = new Far()
    far.server.listen(0, '127.0.0.1')
    await once(far.server, 'listening')
    t.teardown(() => {
      far.socket?.destroy()
      far.server.close()
    })
    return far
  }

  path(scheme: string): string {
    return `${scheme}://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }
}

interface Near {
  readonly line: SerialLine
  readonly log: string[]
  received: Buffer
}

function open(path: string): Near {
  const near = { log: [] as string[], received: Buffer.alloc(0) }
  const line = new TcpSerialDriver().open(
    { path, baudRate: 57_600, resetOnOpen: false },
    {
      onOpen: () => near.log.push('open'),
      receive: (chunk) => {
        near.received = Buffer.concat([near.received, chunk])
      },
      onClosed: (failure) => near.log.push(failure?.message ?? 'as asked'),
    },
  )
  return Object.assign(near, { line })
}

t.test('tcp carries the bytes and nothing else', async (t) => {
  const far = await Far.listen(t)
  const near = open(far.path('tcp'))
  await until(() => near.log.length > 0)
  near.line.changeRate(9600)
  near.line.write(Buffer.from([1, 255, 2]))
  await until(() => far.received.length === 3)
  t.equal(far.received.toString('hex'), '01ff02')
  far.socket?.write(Buffer.from([255, 251, 1]))
  await until(() => near.received.length === 3)
  near.line.close()
  await until(() => near.log.length === 2)
  t.strictSame(near.log, ['open', 'as asked'])
})

t.test('rfc2217 sets the line, doubles 255, and takes commands out of what comes', async (t) => {
  const far = await Far.listen(t)
  const near = open(far.path('rfc2217'))
  await until(() => near.log.length > 0 && far.received.length >= 50)
  const said = far.received.toString('hex')
  t.match(said, /fffb2c/, 'WILL COM-PORT-OPTION')
  t.match(said, /fffa2c010000e100fff0/, '57600 baud')
  t.match(said, /fffa2c0208fff0fffa2c0301fff0fffa2c0401fff0/, '8N1')
  far.received = Buffer.alloc(0)
  near.line.changeRate(1_000_000)
  near.line.write(Buffer.from([7, 255, 8]))
  await until(() => far.received.length >= 14)
  t.equal(far.received.toString('hex'), 'fffa2c01000f4240fff007ffff08')
  far.received = Buffer.alloc(0)
  far.socket?.write(Buffer.from('fffd2c' + '01' + 'fffa2c6500fffffff0' + '02ffff03' + 'fffb18' + '04', 'hex'))
  await until(() => near.received.length === 5)
  t.equal(near.received.toString('hex'), '0102ff0304')
  await until(() => far.received.length === 3)
  t.equal(far.received.toString('hex'), 'fffe18', 'an unknown option is refused')
  far.socket?.destroy()
  await until(() => near.log.length === 2)
  t.match(near.log[1], /a serial device went away: rfc2217:/)
})

t.test('a machine that is not there, and a path that is none, are failures', async (t) => {
  const far = await Far.listen(t)
  const path = far.path('tcp')
  far.server.close()
  for (const bad of [path, 'tcp://nowhere', 'udp://127.0.0.1:1']) {
    const near = open(bad)
    await until(() => near.log.length > 0)
    t.match(near.log, [/a serial device cannot be opened: (tcp|udp):/], bad)
  }
})

t.test('closing while connecting is answered', async (t) => {
  const far = await Far.listen(t)
  const near = open(far.path('tcp'))
  near.line.close()
  await until(() => near.log.length > 0)
  t.strictSame(near.log, ['as asked'])
})

t.test('commands may come in any pieces', async (t) => {
  const bytes = Buffer.from('01fffd2c02fffa2c6500fffffff003ffff04', 'hex')
  for (let cut = 0; cut <= bytes.length; cut++) {
    const telnet = new TelnetDecoder()
    const plain = [bytes.subarray(0, cut), bytes.subarray(cut)].map((part) =>
      Buffer.from(telnet.push(part, () => t.fail('nothing to answer'))),
    )
    t.equal(Buffer.concat(plain).toString('hex'), '010203ff04', `cut at ${cut}`)
  }
})
