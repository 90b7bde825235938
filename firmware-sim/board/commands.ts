/**
 * What a device lets itself be told, as JSON: `{"do":"rate","value":20}`. The answer goes to `…/answer`.
 *
 *   rate     readings per second from now on          update   installs another firmware and starts it
 *   reset    starts anew                              status   says what the flash knows
 */
import type { Flash } from './flash.ts'

export interface CommandedBoard {
  readonly flash: Flash
  ratePerSecond: number
  /** Starts anew, after what is being said has left. */
  restartSoon(): void
}

/** Does what `payload` says; answers what the device replies. */
export function obey(board: CommandedBoard, payload: Buffer): string {
  const command = commandOf(payload)
  const { flash } = board
  switch (command.do) {
    case 'rate': {
      const rate = Number(command.value)
      if (!(rate > 0)) return answer('refused', { reason: 'value must be a number above 0' })
      board.ratePerSecond = rate
      return answer('done', { rate })
    }
    case 'reset':
      board.restartSoon()
      return answer('done', {})
    case 'update':
      flash.install(String(command.value))
      board.restartSoon()
      return answer('done', { firmware: flash.firmware })
    case 'status': {
      const { firmware, bootCount, writtenByteCount, queue, resets } = flash
      const fields = {
        firmware,
        bootCount,
        writtenByteCount,
        waiting: queue.length,
        resets: Object.fromEntries(resets),
      }
      return answer('done', fields)
    }
    default:
      return answer('refused', { reason: 'expected {"do": "rate", "reset", "update" or "status"}' })
  }
}

function answer(result: 'done' | 'refused', fields: object): string {
  return JSON.stringify({ result, ...fields })
}

interface Command {
  readonly do?: unknown
  readonly value?: unknown
}

function commandOf(payload: Buffer): Command {
  try {
    const command: unknown = JSON.parse(payload.toString())
    return command !== null && typeof command === 'object' ? command : {}
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return {}
  }
}
