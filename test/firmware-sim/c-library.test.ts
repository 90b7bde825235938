/** The link for microcontrollers, built for this machine: against the vectors, noise, and the gateway's end. */
import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { PacedLine } from '../../firmware-sim/paced-line.ts'
import { createSystemClock } from '../../src/adapters/system/clock.ts'
import { systemRandom } from '../../src/adapters/system/random.ts'
import { SerialLink } from '../../src/gateway/serial-link.ts'
import { SerialListener } from '../../src/gateway/serial-listener.ts'
import { must } from '../../src/lib/assert.ts'
import type { Link } from '../../src/ports/transport.ts'
import { MemoryGateway } from '../bench/serial/memory-gateway.ts'
import { MemorySerial } from '../fakes/memory-serial.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { silentLog } from '../fakes/test-broker.ts'
import { type LinkVectors, vectorsPath } from '../gateway/link-vectors.ts'
import { serialTraits } from '../gateway/noisy-worlds.ts'

const run = promisify(execFile)
const include = fileURLToPath(new URL('../../firmware-sim/include', import.meta.url))
const strict = ['-Wall', '-Wextra', '-Werror']
const sanitized = [...strict, '-Og', '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all']
const fuzzByteCount = 10_000_000

const baudRate = 115_200
const faults = {
  random: new SeededRandom(7),
  bitErrorRate: 1e-4,
  dropRate: 1e-4,
  duplicateRate: 1e-4,
  garbageRate: 1e-4,
}

const lacking = ['gcc', 'g++', 'size'].filter((tool) => spawnSync(tool, ['--version']).error !== undefined)
const skip = lacking.length > 0 ? `not installed: ${lacking.join(', ')}` : false

/** Each is a process that compiles, then one that waits for its line. */
t.jobs = 4

const cSource = (name: string) => ['gcc', '-std=c99', join(include, 'test', name)] as const
const cppSource = (name: string) =>
  ['g++', '-std=c++11', `-I${join(include, 'test/arduino')}`, join(include, 'test', name)] as const
/** Compiled at once and once, with the sanitizers in them. */
const programs =
  skip === false
    ? {
        vectors: compile(...cSource('vectors.c')),
        echo: compile(...cSource('echo.c')),
        shim: compile(...cppSource('shim.cpp')),
        mqtt: compile(...cppSource('mqtt.cpp')),
      }
    : undefined

t.test('the C library agrees with the vectors', { skip, buffered: true }, async (t) => {
  const program = await programOf('vectors')
  const lines = vectorLines(JSON.parse(readFileSync(vectorsPath, 'utf8')))
  t.equal(execFileSync(program, { input: `${lines.join('\n')}\n` }).toString(), `OK ${lines.length} vectors\n`)
  const damaged = spawnSync(program, { input: 'crc 313233 1\n' })
  t.strictSame([damaged.status, damaged.stdout.toString()], [1, 'wrong: checksum\n'], 'a wrong vector is noticed')
})

t.test('the C library answers each turn of a conversation', { skip, buffered: true }, async (t) => {
  const program = await programOf('vectors')
  t.equal(execFileSync(program, ['talk']).toString(), 'OK talk\n')
})

t.test(
  `the C library stands ${fuzzByteCount} bytes of noise and damaged frames`,
  { skip, buffered: true },
  async (t) => {
    const { stdout: said } = await run(await programOf('vectors'), ['fuzz', '1', `${fuzzByteCount}`])
    t.match(said, /^OK \d{8} bytes, /)
    t.comment(said.trim())
  },
)

t.test('the C library is small', { skip, buffered: true }, async (t) => {
  const folder = t.testdir()
  const source = join(include, 'test/footprint.c')
  const object = join(folder, 'footprint.o')
  execFileSync('gcc', ['-std=c99', ...strict, '-Os', '-c', '-o', object, source])
  const [, row = ''] = execFileSync('size', [object]).toString().trim().split('\n')
  const [code, , state] = row.trim().split(/\s+/).map(Number)
  t.comment(`on this machine: ${code} bytes of code, ${state} bytes of state with the default sizes`)
  t.ok(must(state, 'state') < 600)
  t.ok(must(code, 'code') < 8192)
})

const echoes = { 'the C library': 'echo', 'the Arduino shim': 'shim' } as const

for (const [name, source] of Object.entries(echoes)) {
  t.test(`${name} and the gateway carry a stream both ways over a noisy line`, { skip, buffered: true }, async (t) => {
    const program = await programOf(source)
    const end = new GatewayEnd(t, program)
    for (const seed of [1, 2]) {
      await end.until(() => end.isUp)
      const sent = new SeededRandom(seed).bytes(4000)
      const startedAt = performance.now()
      end.link.send(Buffer.from(sent))
      await end.until(() => end.receivedByteCount >= sent.length)
      t.ok(end.takeReceived().equals(sent), `conversation ${seed}`)
      t.comment(`${Math.round((sent.length * 1000) / (performance.now() - startedAt))} bytes/s`)
      end.isUp = false
      end.link.reset()
    }
    t.equal(end.logged, 'echo starts')
    t.strictSame(end.downs, [], 'in the conversations that the gateway asked for')
    const { crcErrorCount, cobsErrorCount, retransmitCount } = end.link.counters
    t.ok(crcErrorCount + cobsErrorCount > 0 && retransmitCount > 0, 'the line was noisy')
    t.equal(await end.close(), 0, 'the sanitizers found nothing')
    t.comment(`damaged ${crcErrorCount + cobsErrorCount}, sent again by the gateway ${retransmitCount}`)
  })
}

t.test(
  'an MQTT client in C++ on the Arduino Client interface loses nothing on a noisy line',
  { skip, buffered: true },
  async (t) => {
    const count = 60
    const clock = createSystemClock(undefined)
    const gateway = await MemoryGateway.start(clock)
    const tick = setInterval(() => gateway.tick(), 100)
    const driver = new MemorySerial(clock)
    const child = spawn(await programOf('mqtt'), [`${count}`], { stdio: ['pipe', 'pipe', 'pipe'] })
    const exit = once(child, 'exit')
    const up = new PacedLine(baudRate, clock, (chunk) => driver.deliver(chunk), faults)
    const down = new PacedLine(baudRate, clock, (chunk) => child.stdin.write(chunk), faults)
    t.teardown(() => child.kill())
    child.stdin.on('error', () => undefined) // It ends while bytes are under way to it.
    child.stdout.on('data', (chunk: Buffer) => up.write(chunk))
    let said = ''
    child.stderr.on('data', (text) => {
      said += text
    })
    driver.onWritten = (bytes) => down.write(Buffer.from(bytes))
    driver.plug()
    const listener = gateway.listen({ path: 'c1', baudRate, resetOnOpen: false }, driver, 3)
    const [code] = await exit
    t.equal(code, 0, said)
    t.match(said, `${count} acknowledged, ${count} received, `)
    const { crcErrorCount, cobsErrorCount } = listener.counters
    t.ok(crcErrorCount + cobsErrorCount > 0, 'the line was noisy')
    clearInterval(tick)
    for (const line of [up, down]) line.clear()
    await gateway.stop()
  },
)

t.test('two boards with the C library share a bus with the gateway', { skip, buffered: true }, async (t) => {
  const program = await programOf('echo')
  const clock = createSystemClock(undefined)
  const driver = new MemorySerial(clock)
  const boards = ['3', '4'].map((address) => spawn(program, [address], { stdio: ['pipe', 'pipe', 'inherit'] }))
  const echoed = new Map<string, string>()
  const acceptor = {
    accept: (link: Link) => {
      echoed.set(link.remote, '')
      link.send([Buffer.from(`for ${link.remote}: ${'x'.repeat(500)}`)])
      return {
        receive: (chunk: Buffer) => echoed.set(link.remote, `${echoed.get(link.remote) ?? ''}${chunk}`),
        onDrain: () => undefined,
        onClosed: () => undefined,
      }
    },
  }
  for (const board of boards) {
    t.teardown(() => board.kill())
    board.stdout.on('data', (chunk: Buffer) => {
      driver.deliver(chunk)
      for (const other of boards) if (other !== board) other.stdin.write(chunk)
    })
  }
  driver.onWritten = (bytes) => {
    for (const board of boards) board.stdin.write(bytes)
  }
  driver.plug()
  const settings = { path: 'bus', baudRate, resetOnOpen: false, addresses: [3, 4] }
  const listener = new SerialListener(settings, serialTraits, {
    driver,
    acceptor,
    clock,
    random: systemRandom,
    log: silentLog,
  })
  listener.start()
  for (const address of [3, 4]) {
    const remote = `bus address ${address}`
    const sent = `for ${remote}: ${'x'.repeat(500)}`
    while ((echoed.get(remote)?.length ?? 0) < sent.length) await wait(5)
    t.equal(echoed.get(remote), sent)
  }
  await listener.stop()
})

/** The gateway's end, with a program as its device, on a line of 115200 baud. */
class GatewayEnd {
  readonly link: SerialLink
  readonly downs: string[] = []
  isUp = false
  logged = ''
  #received: Buffer[] = []
  readonly #child: ChildProcess
  readonly #lines: readonly PacedLine[]

  constructor(t: Test, program: string) {
    const clock = createSystemClock(undefined)
    const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#child = child
    const down = new PacedLine(baudRate, clock, (chunk) => child.stdin.write(chunk))
    const up = new PacedLine(baudRate, clock, (chunk) => this.link.receive(chunk))
    this.#lines = [up, down]
    this.link = new SerialLink(
      'host',
      baudRate,
      {
        write: (bytes) => down.write(bytes),
        onUp: () => {
          this.isUp = true
          // Before, the line of text has to come through: nothing repeats it.
          for (const line of this.#lines) line.faults = faults
        },
        onBytes: (chunk) => this.#received.push(Buffer.from(chunk)),
        onDrain: () => {},
        onDown: (reason) => this.downs.push(reason),
        onLog: (text) => {
          this.logged = text.toString()
        },
      },
      clock,
      systemRandom,
    )
    child.stdout.on('data', (chunk: Buffer) => up.write(chunk))
    this.link.open()
    t.teardown(() => {
      this.#disconnect()
      child.kill()
    })
  }

  /** Ends the device with its input; answers how the program ended. */
  async close(): Promise<number | null> {
    const exit = once(this.#child, 'exit')
    this.#disconnect()
    this.#child.stdin?.end()
    await exit
    return this.#child.exitCode
  }

  #disconnect(): void {
    this.link.close()
    for (const line of this.#lines) {
      line.isConnected = false
      line.clear()
    }
  }

  get receivedByteCount(): number {
    return this.#received.reduce((sum, chunk) => sum + chunk.length, 0)
  }

  takeReceived(): Buffer {
    const all = Buffer.concat(this.#received)
    this.#received = []
    return all
  }

  /** A program that has ended is an error, not a wait for the runner's time limit. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.#child.exitCode !== null) throw new RangeError(`the device ended with ${this.#child.exitCode}`)
      await wait(2)
    }
  }
}

/** Where the program is. */
async function compile(compiler: string, ...options: readonly string[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-c-library-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const program = join(folder, 'program')
  await run(compiler, [...sanitized, ...options, '-o', program])
  return program
}

async function programOf(name: keyof NonNullable<typeof programs>): Promise<string> {
  return must(await programs?.[name], name)
}

/** The vectors as vectors.c reads them. */
function vectorLines(vectors: LinkVectors): string[] {
  const word = (hex: string): string => (hex === '' ? '-' : hex)
  return [
    ...vectors.cobs.map(({ plain, encoded }) => `stuff ${word(plain)} ${encoded}`),
    ...vectors.cobsRefused.map(({ encoded }) => `notcobs ${encoded}`),
    ...vectors.crc.map(({ bytes, crc }) => `crc ${word(bytes)} ${crc}`),
    ...vectors.frames.map((frame) => {
      return `frame ${frame.type} ${frame.flags} ${frame.seq} ${frame.ack} ${word(frame.payload)} ${frame.wire} ${frame.address ?? 0}`
    }),
    ...vectors.framesRefused.map(({ wire }) => `notframe ${wire}`),
    ...vectors.hellos.map(({ payload, hello }) => {
      return `hello ${payload} ${hello.mtuBytes} ${hello.creditBytes} ${hello.windowFrames}`
    }),
    // Its device says of itself what the one in vectors.c does.
    ...vectors.hellos.slice(0, 1).map(({ payload }) => `ownhello ${payload}`),
    ...vectors.hellosRefused.map(({ payload }) => `nothello ${word(payload)}`),
  ]
}
