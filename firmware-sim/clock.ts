/** Time as a simulated device sees it: the real one here, a virtual one in tests. */
export interface DeviceClock {
  /** Milliseconds on a timeline that never goes back. */
  nowMs(): number
  /** Milliseconds since 1970. */
  wallMs(): number
  /** Runs `task` once after at least `delayMs`, never inside the call. */
  after(delayMs: number, task: () => void): DeviceTimer
}

export interface DeviceTimer {
  cancel(): void
}

export class SystemClock implements DeviceClock {
  nowMs(): number {
    return performance.now()
  }

  wallMs(): number {
    return Date.now()
  }

  after(delayMs: number, task: () => void): DeviceTimer {
    const timer = setTimeout(task, delayMs)
    return { cancel: () => clearTimeout(timer) }
  }
}

export function pause(clock: DeviceClock, durationMs: number): Promise<void> {
  return new Promise((resolve) => clock.after(durationMs, resolve))
}
