/**
 * What a device on a bus has to say, until it has the turn: it gets it with a TURN of the gateway, says all of it, and
 * gives it back with a TURN of its own.
 */
import { type Frame, fromDevice, Type, toWire } from './link-codec.ts'

export class BusVoice {
  /** 1 to 127. */
  readonly address: number
  /** What the link adds now goes out before the turn goes back. */
  hasTurn = false
  readonly #write: (bytes: Buffer) => void
  #unsaid: { readonly type: number; readonly bytes: Buffer }[] = []

  constructor(address: number, write: (bytes: Buffer) => void) {
    this.address = address
    this.#write = write
  }

  /** Of what says the same again, only the latest is said. */
  say(frame: Frame): void {
    const { type } = frame
    if (type !== Type.data && type !== Type.log) this.#unsaid = this.#unsaid.filter((other) => other.type !== type)
    this.#unsaid.push({ type, bytes: toWire({ ...frame, address: this.address | fromDevice }) })
  }

  /** @param add says what else there is, and TURN at the end */
  speak(add: () => void): void {
    this.hasTurn = true
    add()
    this.hasTurn = false
    for (const { bytes } of this.#unsaid.splice(0)) this.#write(bytes)
  }

  /** The power went. */
  forget(): void {
    this.#unsaid = []
  }
}
