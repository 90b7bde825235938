/**
 * Makes sockets of Node cost what they should. `new Socket` copies its options by spread and adds three more; V8 makes
 * the copy by a short cut whose hidden class is never shared, so that each socket brought ten new ones and missed
 * thirty inline caches. A place in the code that has met more than four shapes of options does without the short cut:
 * so it meets some before the first client comes. Where V8 does better by itself, this changes nothing.
 */
import { Socket } from 'node:net'

const shapeCount = 8

/** V8 notes what a function meets only after it has run several times. */
const roundCount = 4

/** Takes less than a millisecond. */
export function shareShapesOfSockets(): void {
  for (let round = 0; round < roundCount; round++) {
    // Without a handle: nothing is opened that would have to be closed.
    for (let shape = 0; shape < shapeCount; shape++) new Socket({ [`shape${shape}`]: true })
  }
}
