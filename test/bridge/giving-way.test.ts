/** How a drain gives way to commands: every state with everything that it can meet. */
import t from 'tap'
import {
  expectMs,
  expectsCommands,
  type GivingWay,
  goOnMs,
  stepOf,
  waitMsMax,
  waitMsOf,
} from '../../src/bridge/giving-way.ts'

/** All gave way to command 5 at 100 ms. */
const states = {
  free: { is: 'free', seq: 5, sinceMs: 100 },
  waiting: { is: 'waiting', seq: 5, sinceMs: 100 },
  'going on': { is: 'going on', seq: 5, sinceMs: 100, untilMs: 110 },
} as const satisfies Record<GivingWay['is'], GivingWay>

const commands = { 'none waits': undefined, 'the same one': 5, 'a new one': 6 } as const
/** Each is before the end of what has an end, at it, or behind it. */
const times = { 'going on': [109, 110, 111], waiting: [115, 116, 117], free: [100, 1099, 5000] } as const

const { free, waiting } = states
const onward = (untilMs: number): GivingWay => ({ ...states['going on'], untilMs })
const newly = (sinceMs: number): GivingWay => ({ is: 'waiting', seq: 6, sinceMs })

const transitions: Record<GivingWay['is'], Record<keyof typeof commands, readonly GivingWay[]>> = {
  free: {
    'none waits': [free, free, free],
    'the same one': [free, free, free],
    'a new one': [newly(100), newly(1099), newly(5000)],
  },
  waiting: {
    'none waits': [onward(119), onward(120), onward(121)],
    'the same one': [waiting, onward(120), onward(121)],
    'a new one': [waiting, onward(120), onward(121)],
  },
  'going on': {
    'none waits': [onward(110), free, free],
    'the same one': [onward(110), free, free],
    'a new one': [onward(110), newly(110), newly(111)],
  },
}

for (const [is, row] of Object.entries(transitions)) {
  for (const [command, outcomes] of Object.entries(row)) {
    t.test(`${is}, ${command}`, (t) => {
      const state = states[is as GivingWay['is']]
      const at = times[is as GivingWay['is']]
      const seq = commands[command as keyof typeof commands]
      t.strictSame(
        at.map((nowMs) => stepOf(state, nowMs, seq)),
        outcomes,
      )
      t.end()
    })
  }
}

t.test('only who waits has to wait, and no longer than the bound', (t) => {
  t.equal(waitMsMax, 16)
  t.equal(goOnMs, 4)
  t.equal(waitMsOf(states.waiting, 100), waitMsMax)
  t.equal(waitMsOf(states.waiting, 115), 1)
  t.equal(waitMsOf(states.free, 100), 0)
  t.equal(waitMsOf(states['going on'], 100), 0)
  t.end()
})

t.test('after a command others are expected for a while, whatever the state', (t) => {
  for (const state of Object.values(states)) {
    t.equal(expectsCommands(state, 100 + expectMs - 1), true)
    t.equal(expectsCommands(state, 100 + expectMs), false)
  }
  t.end()
})
