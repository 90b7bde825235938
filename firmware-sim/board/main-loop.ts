/**
 * The main loop of a board, which everything waits for: bytes lie in the receive ring until it comes round, and while
 * it is busy or hangs no timer of the firmware runs. A watchdog, if there is one, resets a board that hangs.
 *
 *   off ──powerOn──> running ──block(ms)──> blocked ──time──> running       powerOff from any: ──> off
 *                       └─────────hang()──> blocked ──watchdog──> onBite
 */
import type { DeviceClock, DeviceTimer } from '../clock.ts'
import { ReceiveRing } from './receive-ring.ts'

export interface MainLoopOptions {
  /** Bytes of the receive ring; undefined = room for everything, read at once. */
  readonly receiveRingBytes?: number | undefined
  /** How often the ring is read. */
  readonly loopMs?: number | undefined
  /** A loop that does not come round for so long is reset; undefined = no watchdog. */
  readonly watchdogMs?: number | undefined
}

export interface MainLoopOwner {
  onBytes(bytes: Buffer): void
  /** The watchdog bites; `powerOff` and `powerOn` follow. */
  onBite(): void
}

const loopMsDefault = 1

export class MainLoop implements DeviceClock {
  readonly #options: MainLoopOptions
  readonly #clock: DeviceClock
  readonly #owner: MainLoopOwner
  readonly #ring: ReceiveRing | undefined
  #state: 'off' | 'running' | 'blocked' = 'off'
  #round: DeviceTimer | undefined
  #unblock: DeviceTimer | undefined
  #watchdog: DeviceTimer | undefined
  /** What fell due while the loop was blocked, in order. */
  #due: GatedTimer[] = []

  constructor(options: MainLoopOptions, clock: DeviceClock, owner: MainLoopOwner) {
    this.#options = options
    this.#clock = clock
    this.#owner = owner
    const { receiveRingBytes } = options
    this.#ring = receiveRingBytes === undefined ? undefined : new ReceiveRing(receiveRingBytes)
  }

  get overrunByteCount(): number {
    return this.#ring?.overrunByteCount ?? 0
  }

  get isBlocked(): boolean {
    return this.#state === 'blocked'
  }

  nowMs(): number {
    return this.#clock.nowMs()
  }

  wallMs(): number {
    return this.#clock.wallMs()
  }

  /** A timer of the firmware: its task waits while the loop is blocked, and is lost without power. */
  after(delayMs: number, task: () => void): DeviceTimer {
    const timer = new GatedTimer(task)
    timer.inner = this.#clock.after(delayMs, () => {
      if (this.#state === 'running') timer.run()
      else if (this.#state === 'blocked') this.#due.push(timer)
    })
    return timer
  }

  powerOn(): void {
    this.#state = 'running'
  }

  powerOff(): void {
    this.#state = 'off'
    this.#ring?.clear()
    this.#due = []
    for (const timer of [this.#round, this.#unblock, this.#watchdog]) timer?.cancel()
    this.#round = undefined
  }

  /** Bytes from the line, at interrupt time. */
  receive(bytes: Buffer): void {
    if (this.#state === 'off') return
    if (this.#ring !== undefined) {
      this.#ring.put(bytes)
      this.#round ??= this.#clock.after(this.#options.loopMs ?? loopMsDefault, () => this.#onRound())
    } else if (this.#state === 'running') {
      this.#owner.onBytes(bytes)
    }
  }

  /** Something takes so long that the loop does not come round. */
  block(durationMs: number): void {
    if (this.#state === 'off') return
    this.#stop()
    this.#unblock = this.#clock.after(durationMs, () => this.#onUnblocked())
  }

  /** The loop does not come round any more. */
  hang(): void {
    if (this.#state !== 'off') this.#stop()
  }

  #stop(): void {
    this.#unblock?.cancel()
    if (this.#state === 'running' && this.#options.watchdogMs !== undefined) {
      this.#watchdog = this.#clock.after(this.#options.watchdogMs, () => this.#owner.onBite())
    }
    this.#state = 'blocked'
  }

  #onUnblocked(): void {
    this.#watchdog?.cancel()
    this.#state = 'running'
    this.#onRound()
    const due = this.#due
    this.#due = []
    for (const timer of due) timer.run()
  }

  #onRound(): void {
    this.#round = undefined
    if (this.#state === 'running' && this.#ring !== undefined && this.#ring.byteCount > 0) {
      this.#owner.onBytes(this.#ring.take())
    }
  }
}

class GatedTimer implements DeviceTimer {
  inner: DeviceTimer | undefined
  #task: (() => void) | undefined

  constructor(task: () => void) {
    this.#task = task
  }

  run(): void {
    this.#task?.()
  }

  cancel(): void {
    this.#task = undefined
    this.inner?.cancel()
  }
}
