/** Real ttys for tests: a pty pair, the real driver, and what it tells its owner. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Test } from 'tap'
import type { DeviceOptions } from '../../firmware-sim/device.ts'
import { PtyPair } from '../../firmware-sim/pty.ts'
import { WiredDevice } from '../../firmware-sim/wired-device.ts'
import { SerialPortDriver } from '../../src/adapters/serial-port/driver.ts'
import { createSystemClock } from '../../src/adapters/system/clock.ts'
import { systemRandom } from '../../src/adapters/system/random.ts'
import { SerialListener } from '../../src/gateway/serial-listener.ts'
import type { SerialLine } from '../../src/ports/serial.ts'
import { MqttAcceptor } from '../fakes/mqtt-acceptor.ts'
import { RecordingLog } from '../fakes/recording-log.ts'
import { serialTraits } from './noisy-worlds.ts'

const baudRate = 115_200

/** The gateway's listener and a simulated device, joined by ptys; all of it is closed with the test. */
export class Rig {
  readonly acceptor = new MqttAcceptor()
  readonly log = new RecordingLog()
  readonly pty: PtyPair
  readonly listener: SerialListener
  readonly wired: WiredDevice

  constructor(pty: PtyPair, options: Pick<DeviceOptions, 'ratePerSecond' | 'readingCount'>) {
    this.pty = pty
    const settings = { path: pty.hostPath, baudRate, resetOnOpen: false }
    this.listener = new SerialListener(settings, serialTraits, {
      driver: new SerialPortDriver(),
      acceptor: this.acceptor,
      clock: createSystemClock(undefined),
      random: systemRandom,
      log: this.log,
    })
    this.wired = new WiredDevice({ id: 's1', baudRate, ...options }, { path: pty.devicePath, seed: 1 })
  }

  static async start(
    t: Test,
    options: Pick<DeviceOptions, 'ratePerSecond' | 'readingCount'>,
    pty?: PtyPair,
  ): Promise<Rig> {
    const rig = new Rig(pty ?? (await pluggedPair(t)), options)
    rig.listener.start()
    rig.wired.start()
    t.teardown(async () => {
      rig.wired.close()
      await rig.listener.stop()
    })
    return rig
  }
}

/** A pair of paths with nothing plugged in. */
export function pairOf(t: Test): PtyPair {
  const folder = t.testdir()
  const pty = new PtyPair(join(folder, 'host'), join(folder, 'device'))
  t.teardown(() => pty.unplug())
  return pty
}

export async function pluggedPair(t: Test): Promise<PtyPair> {
  const pty = pairOf(t)
  await pty.plug()
  return pty
}

export interface OpenLine {
  readonly line: SerialLine
  isOpen: boolean
  receivedByteCount: number
  /** The last bytes that came, as text. */
  receivedTail: string
  /** One entry for each `onClosed`. */
  readonly closings: string[]
}

export function beginToOpen(path: string, resetOnOpen = true): OpenLine {
  const state: Omit<OpenLine, 'line'> = { isOpen: false, receivedByteCount: 0, receivedTail: '', closings: [] }
  const line = new SerialPortDriver().open(
    { path, baudRate, resetOnOpen },
    {
      onOpen: () => {
        state.isOpen = true
      },
      receive: (chunk) => {
        state.receivedByteCount += chunk.length
        state.receivedTail = (state.receivedTail + chunk.toString('latin1')).slice(-20)
      },
      onClosed: (failure) => {
        state.isOpen = false
        state.closings.push(failure?.message ?? 'as asked')
      },
    },
  )
  return Object.assign(state, { line })
}

/** Resolves once the port is open or could not be opened. */
export async function openLine(path: string, resetOnOpen?: boolean): Promise<OpenLine> {
  const line = beginToOpen(path, resetOnOpen)
  await until(() => line.isOpen || line.closings.length > 0)
  return line
}

/** A test that waits in vain is ended by the runner's time limit. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await wait(5)
}

export function descriptorCount(): number {
  return readdirSync('/proc/self/fd').length
}
