/** What the demo shows: events as they happen, one line of progress that is rewritten in place, a table at the end. */
import { type Column, tableOf } from '../command/table.ts'
import { isGood, type Verdict } from '../oracle/account.ts'

const isTerminal = process.stdout.isTTY === true
/** Where lines cannot be rewritten, progress comes this often. */
const plainProgressMs = 5000

export class Screen {
  readonly #startedAtMs = performance.now()
  #hasProgress = false
  #lastPlainMs = 0

  event(text: string): void {
    this.#clearProgress()
    process.stdout.write(`${this.#time()}  ${text}\n`)
  }

  progress(text: string): void {
    if (isTerminal) {
      this.#clearProgress()
      process.stdout.write(`${this.#time()}  ${text}`)
      this.#hasProgress = true
      return
    }
    const nowMs = performance.now()
    if (nowMs - this.#lastPlainMs < plainProgressMs) return
    this.#lastPlainMs = nowMs
    process.stdout.write(`${this.#time()}  ${text}\n`)
  }

  line(text = ''): void {
    this.#clearProgress()
    process.stdout.write(`${text}\n`)
  }

  #time(): string {
    return `${((performance.now() - this.#startedAtMs) / 1000).toFixed(1).padStart(5)} s`
  }

  #clearProgress(): void {
    if (this.#hasProgress) process.stdout.write('\r\x1b[K')
    this.#hasProgress = false
  }
}

const columns: readonly Column<Verdict>[] = [
  ['device', ({ id }) => id],
  ['produced', ({ produced }) => String(produced)],
  ['acknowledged', ({ acknowledged }) => String(acknowledged)],
  ['arrived', ({ arrived }) => String(arrived)],
  ['lost', ({ lost }) => String(lost)],
  ['doubled', ({ doubled }) => String(doubled)],
  ['out of order', ({ outOfOrder }) => String(outOfOrder)],
  ['sent again', ({ sentAgain }) => String(sentAgain)],
  ['longest delay', ({ longestDelayMs }) => `${(longestDelayMs / 1000).toFixed(1)} s`],
  ['', (verdict) => (isGood(verdict) ? 'ok' : 'NOT OK')],
]

/** One row for each device, columns aligned. */
export function table(verdicts: readonly Verdict[]): string {
  return tableOf(columns, verdicts).join('\n')
}
