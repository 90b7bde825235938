/**
 * The serial link in C (include/tidegate_link.h) under the same MQTT client: a process for each device, which this
 * file compiles once and talks to. It begins with the power and ends with it, as a board does.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { RESET_REASONS, type ResetReason } from '../device-hello.ts'
import type { SeededRandom } from '../seeded-random.ts'
import type { Stream, StreamOwner } from './head.ts'

export interface CLinkBoard {
  readonly id: string
  readonly baudRate: number
  readonly firmware: () => string
  readonly random: SeededRandom
  readonly write: (bytes: Buffer) => void
}

const source = fileURLToPath(new URL('../c-device/device.c', import.meta.url))
const headBytes = 4
let program: string | undefined

export class CLinkStream implements Stream {
  readonly #board: CLinkBoard
  readonly #owner: StreamOwner
  #child: ChildProcess | undefined
  #generation = 0
  #heard: Buffer = Buffer.alloc(0)

  constructor(board: CLinkBoard, owner: StreamOwner) {
    program ??= compile()
    this.#board = board
    this.#owner = owner
  }

  powerOn(reason: ResetReason): void {
    const { id, baudRate, firmware, random, write } = this.#board
    const words = [baudRate, random.uint32(), RESET_REASONS.indexOf(reason), id, firmware()].map(String)
    const child = spawn(program ?? '', words, { stdio: ['pipe', 'pipe', 'inherit', 'pipe', 'pipe'] })
    this.#child = child
    this.#heard = Buffer.alloc(0)
    for (const stream of child.stdio) stream?.on('error', () => child.kill())
    child.stdout?.on('data', (bytes: Buffer) => this.#child === child && write(bytes))
    const says = child.stdio[4] as Readable
    says.on('data', (bytes: Buffer) => this.#child === child && this.#onSaid(bytes))
  }

  powerOff(): void {
    const child = this.#child
    this.#child = undefined
    this.#generation = 0
    child?.kill('SIGKILL')
  }

  receive(bytes: Buffer): void {
    this.#child?.stdin?.write(Buffer.from(bytes))
  }

  send(bytes: Buffer): void {
    this.#tell('B', bytes)
  }

  reset(): void {
    this.#tell('R')
  }

  log(text: string): void {
    this.#tell('L', Buffer.from(text))
  }

  #tell(verb: string, bytes: Buffer = Buffer.alloc(0)): void {
    const head = Buffer.from([verb.charCodeAt(0), this.#generation, bytes.length & 0xff, bytes.length >> 8])
    const hears = this.#child?.stdio[3] as Writable | undefined
    hears?.write(Buffer.concat([head, bytes]))
  }

  #onSaid(bytes: Buffer): void {
    this.#heard = Buffer.concat([this.#heard, bytes])
    while (this.#heard.length >= headBytes) {
      const [verb = 0, generation = 0] = this.#heard
      const end = headBytes + this.#heard.readUInt16LE(2)
      if (this.#heard.length < end) return
      const payload = this.#heard.subarray(headBytes, end)
      this.#heard = this.#heard.subarray(end)
      switch (String.fromCharCode(verb)) {
        case 'U':
          this.#generation = generation
          this.#owner.onUp()
          break
        case 'D':
          this.#owner.onDown()
          break
        default:
          this.#owner.onBytes(payload)
      }
    }
  }
}

/** @throws RangeError saying what to install */
function compile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-c-device-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'device')
  try {
    execFileSync('gcc', ['-std=c99', '-Wall', '-Wextra', '-Werror', '-O2', '-o', path, source], { stdio: 'pipe' })
  } catch (error) {
    const { code, stderr } = error as { code?: string; stderr?: Buffer }
    throw new RangeError(code === 'ENOENT' ? 'head "link-c" needs gcc: install build-essential' : String(stderr))
  }
  return path
}
