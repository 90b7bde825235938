/** MQTT over TCP: a device with a network of its own, straight to the broker. */
import { connect, type Socket } from 'node:net'
import type { DeviceClock, DeviceTimer } from '../clock.ts'
import type { Stream, StreamOwner } from './head.ts'

const connectAgainMs = 500

export class TcpStream implements Stream {
  readonly #address: { readonly host: string; readonly port: number }
  readonly #clock: DeviceClock
  readonly #owner: StreamOwner
  #socket: Socket | undefined
  #again: DeviceTimer | undefined

  constructor(address: { host: string; port: number }, clock: DeviceClock, owner: StreamOwner) {
    this.#address = address
    this.#clock = clock
    this.#owner = owner
  }

  powerOn(): void {
    const socket = connect({ ...this.#address, noDelay: true })
    this.#socket = socket
    socket.on('connect', () => this.#socket === socket && this.#owner.onUp())
    socket.on('data', (bytes: Buffer) => this.#socket === socket && this.#owner.onBytes(bytes))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#socket === socket && this.reset())
  }

  powerOff(): void {
    this.#again?.cancel()
    const socket = this.#socket
    this.#socket = undefined
    socket?.destroy()
  }

  receive(): void {
    // No UART: everything comes through the socket.
  }

  send(bytes: Buffer): void {
    this.#socket?.write(bytes)
  }

  reset(): void {
    this.powerOff()
    this.#owner.onDown()
    this.#again = this.#clock.after(connectAgainMs, () => this.powerOn())
  }

  log(): void {
    // What people should read goes to the console of the device.
  }
}
