/**
 * A sketch that prints lines. It is never answered, so a reading is done once it is on its way; what the power takes
 * out of the UART is known to be cut, and what the line swallows nobody knows.
 */
import type { DeviceClock, DeviceTimer } from '../clock.ts'
import type { Head, HeadOwner } from './head.ts'
import type { LineGrammar } from './line-grammar.ts'

export interface LinesPort {
  write(bytes: Buffer): void
  /** Bytes that have not left. */
  bufferedByteCount(): number
}

/** `Serial.print` waits while so much has not left. */
const aheadBytesMax = 256
const lookAgainMs = 10
const heardBytesMax = 1024

export class LinesHead implements Head {
  readonly isAcknowledged = false
  readonly #grammar: LineGrammar
  readonly #port: LinesPort
  readonly #clock: DeviceClock
  readonly #owner: HeadOwner
  #isOn = false
  #again: DeviceTimer | undefined
  #heard = ''
  /** Of the lines that may not have left: number of the reading, and bytes written up to its end. */
  #lines: { readonly n: number; readonly endAt: number }[] = []
  #writtenByteCount = 0

  constructor(grammar: LineGrammar, port: LinesPort, clock: DeviceClock, owner: HeadOwner) {
    this.#grammar = grammar
    this.#port = port
    this.#clock = clock
    this.#owner = owner
  }

  /** Nobody tells a sketch whether somebody listens. */
  get isReady(): boolean {
    return this.#isOn
  }

  powerOn(): void {
    this.#isOn = true
    this.#heard = ''
    for (const line of this.#grammar.greeting(this.#owner.commandTopic)) this.#print(line)
    this.#owner.onReady()
  }

  powerOff(): void {
    this.#isOn = false
    this.#again?.cancel()
    this.#again = undefined
  }

  cut(): void {
    const leftAt = this.#writtenByteCount - this.#port.bufferedByteCount()
    for (const { n, endAt } of this.#lines) if (endAt > leftAt) this.#owner.onCut(n)
    this.#lines = []
  }

  receive(bytes: Buffer): void {
    this.#heard = (this.#heard + bytes.toString('latin1')).slice(-heardBytesMax)
    const lines = this.#heard.split('\n')
    this.#heard = lines.pop() ?? ''
    for (const line of lines) {
      const told = this.#grammar.told(line.trim())
      if (told !== undefined && told.topic === this.#owner.commandTopic) {
        this.#owner.onCommand(told.topic, Buffer.from(told.payload))
      }
    }
  }

  flush(): void {
    const { queue, topic } = this.#owner
    while (this.#isOn && queue[0] !== undefined) {
      if (this.#port.bufferedByteCount() >= aheadBytesMax) {
        this.#again ??= this.#clock.after(lookAgainMs, () => {
          this.#again = undefined
          this.flush()
        })
        return
      }
      const { n, payload } = queue[0]
      this.#print(this.#grammar.reading(topic, payload.toString()))
      this.#forgetLeft()
      this.#lines.push({ n, endAt: this.#writtenByteCount })
      this.#owner.onDone(0)
    }
  }

  say(topic: string, payload: string): void {
    if (this.#isOn) this.#print(this.#grammar.say(topic, payload))
  }

  log(text: string): void {
    this.#print(`# ${text}`)
  }

  #print(line: string): void {
    const bytes = Buffer.from(`${line}\n`)
    this.#writtenByteCount += bytes.length
    this.#port.write(bytes)
  }

  #forgetLeft(): void {
    const leftAt = this.#writtenByteCount - this.#port.bufferedByteCount()
    while (this.#lines[0] !== undefined && this.#lines[0].endAt <= leftAt) this.#lines.shift()
  }
}
