/**
 * MQTT bytes on the wire as they are, for lines that lose nothing, such as USB-CDC. Nothing tells such a device that
 * the gateway closed the connection, so it finds out by waiting in vain, and begins anew with the next CONNECT.
 */
import type { DeviceClock, DeviceTimer } from '../clock.ts'
import type { Stream, StreamOwner } from './head.ts'

export class RawStream implements Stream {
  readonly #write: (bytes: Buffer) => void
  readonly #clock: DeviceClock
  readonly #owner: StreamOwner
  #isUp = false
  #soon: DeviceTimer | undefined

  constructor(write: (bytes: Buffer) => void, clock: DeviceClock, owner: StreamOwner) {
    this.#write = write
    this.#clock = clock
    this.#owner = owner
  }

  powerOn(): void {
    this.#soon = this.#clock.after(0, () => {
      this.#isUp = true
      this.#owner.onUp()
    })
  }

  powerOff(): void {
    this.#isUp = false
    this.#soon?.cancel()
  }

  receive(bytes: Buffer): void {
    if (this.#isUp) this.#owner.onBytes(bytes)
  }

  send(bytes: Buffer): void {
    if (this.#isUp) this.#write(bytes)
  }

  reset(): void {
    this.powerOff()
    this.#owner.onDown()
    this.powerOn()
  }

  log(): void {
    // Between the packets of a raw line there is no room for text.
  }
}
