/**
 * When V8 compiles. It waits until a function ran so often that compiling pays even on a page that is open for seconds.
 * A broker that has just started is met by all of its clients at once, and by itself V8 would interpret most of that. Later
 * what compiles beside it would only delay the messages, so then V8 is left alone.
 */
import { setFlagsFromString } from 'node:v8'

/** Of bytecode that a function runs before V8 looks at it. */
const budgetBytes = 8192

/** What V8 says itself: `node --v8-options` prints it. */
const usualBytes = 67_584

/** Before anything that is to be quick runs for the first time. */
export function compileSooner(): void {
  setFlagsFromString(`--interrupt-budget=${budgetBytes}`)
}

export function compileAsUsual(): void {
  setFlagsFromString(`--interrupt-budget=${usualBytes}`)
}
