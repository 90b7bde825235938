import t from 'tap'
import { Flag, Type, toWire } from '../../firmware-sim/link-codec.ts'
import { must } from '../../src/lib/assert.ts'
import { Bench, conversationOf, type Role, type State } from './link-bench.ts'

/** What an event brings: the next state, the kinds of frames written, what the owner was told. */
type Outcome = readonly [to: State, written: string, told: string]

const events = {
  open: (end: Bench) => end.link.open(),
  close: (end) => end.link.close(),
  leave: (end) => end.link.leave(),
  reset: (end) => end.link.reset(),
  'send a byte': (end) => end.link.send(Buffer.from('x')),
  'RST of another conversation': (end) => end.hear(Type.rst, end.hello({ conversation: 77 })),
  'RST of a restarted peer': (end) => end.hear(Type.rst, end.hello({ conversation: 78, bootId: 999 })),
  'RST of the open conversation': (end) => end.hear(Type.rst, end.hello({ conversation: end.askedFor })),
  'RST of our own role': (end) => end.hear(Type.rst, end.hello({ conversation: 79, role: end.role })),
  'RST without fields': (end) => end.hear(Type.rst, Buffer.alloc(0)),
  'RSTACK to our RST': (end) => end.hear(Type.rstAck, end.hello({ conversation: end.askedFor })),
  'RSTACK to an older RST': (end) => end.hear(Type.rstAck, end.hello({ conversation: 80 })),
  'DATA in order': (end) => end.hear(Type.data, Buffer.from('abc')),
  'DATA after a gap': (end) => end.hear(Type.data, Buffer.from('abc'), { seq: 1 }),
  'old DATA': (end) => end.hear(Type.data, Buffer.from('abc'), { seq: 255 }),
  ACK: (end) => end.hear(Type.ack),
  NAK: (end) => end.hear(Type.nak),
  PING: (end) => end.hear(Type.ping),
  PONG: (end) => end.hear(Type.pong),
  LOG: (end) => end.hear(Type.log, Buffer.from('hi')),
  ERR: (end) => end.hear(Type.err),
  'a type of the future': (end) => end.hear(15),
  garbage: (end) => end.link.receive(Buffer.from([3, 1, 1, 0])),
  'a second': (end) => end.clock.advanceMs(1000),
  'ten seconds of silence': (end) => end.clock.advanceMs(10_000),
} as const satisfies Record<string, (end: Bench) => void>
type Event = keyof typeof events

const nothing = (state: State): Outcome => [state, '', '']
const closed = Object.fromEntries(Object.keys(events).map((event) => [event, nothing('closed')])) as Record<
  Event,
  Outcome
>

/** `PING+` is a run of several. What is due at once after the event belongs to it. */
const transitions: Record<Role, Record<State, Record<Event, Outcome>>> = {
  host: {
    closed: { ...closed, open: ['resetting', 'RST', ''], reset: ['resetting', 'RST', ''] },
    resetting: {
      open: ['resetting', 'RST', ''],
      close: nothing('closed'),
      leave: nothing('closed'),
      reset: ['resetting', 'RST', ''],
      'send a byte': nothing('resetting'),
      'RST of another conversation': ['open', 'RSTACK', 'up'],
      'RST of a restarted peer': ['open', 'RSTACK', 'up'],
      'RST of the open conversation': ['open', 'RSTACK', 'up'],
      'RST of our own role': nothing('resetting'),
      'RST without fields': nothing('resetting'),
      'RSTACK to our RST': ['open', '', 'up'],
      'RSTACK to an older RST': nothing('resetting'),
      'DATA in order': nothing('resetting'),
      'DATA after a gap': nothing('resetting'),
      'old DATA': nothing('resetting'),
      ACK: nothing('resetting'),
      NAK: nothing('resetting'),
      PING: nothing('resetting'),
      PONG: nothing('resetting'),
      LOG: ['resetting', '', 'log hi'],
      ERR: nothing('resetting'),
      'a type of the future': nothing('resetting'),
      garbage: nothing('resetting'),
      'a second': ['resetting', 'RST', ''],
      'ten seconds of silence': ['resetting', 'RST+', ''],
    },
    open: {
      open: ['resetting', 'RST', ''],
      close: nothing('closed'),
      leave: ['closed', 'ERR', ''],
      reset: ['resetting', 'RST', ''],
      'send a byte': ['open', 'DATA', ''],
      'RST of another conversation': ['open', 'RSTACK', 'down peer began anew, up'],
      'RST of a restarted peer': ['open', 'RSTACK', 'down peer restarted, up'],
      'RST of the open conversation': ['open', 'RSTACK', ''],
      'RST of our own role': nothing('open'),
      'RST without fields': nothing('open'),
      'RSTACK to our RST': nothing('open'),
      'RSTACK to an older RST': nothing('open'),
      'DATA in order': ['open', '', 'bytes abc'],
      'DATA after a gap': ['open', 'NAK', ''],
      'old DATA': ['open', 'ACK', ''],
      ACK: nothing('open'),
      NAK: nothing('open'),
      PING: ['open', 'PONG', ''],
      PONG: nothing('open'),
      LOG: ['open', '', 'log hi'],
      ERR: ['resetting', 'RST', 'down peer left'],
      'a type of the future': nothing('open'),
      garbage: ['open', 'NAK', ''],
      'a second': nothing('open'),
      'ten seconds of silence': ['resetting', 'PING+ RST+', 'down silence'],
    },
  },
  get device() {
    // The roles differ in one cell each: while both ask, the device insists.
    const insists: Outcome = ['resetting', 'RST', '']
    const { closed, resetting, open } = this.host
    return {
      closed,
      resetting: {
        ...resetting,
        'RST of another conversation': insists,
        'RST of a restarted peer': insists,
        'RST of the open conversation': insists,
      },
      open,
    }
  },
}

for (const role of ['host', 'device'] as const) {
  for (const [state, row] of Object.entries(transitions[role]) as [State, Record<Event, Outcome>][]) {
    t.test(`every event at a ${role} that is ${state}`, async (t) => {
      for (const [event, [to, written, told]] of Object.entries(row) as [Event, Outcome][]) {
        const end = new Bench(role)
        end.bring(state)
        events[event](end)
        end.clock.advanceMs(0)
        t.strictSame([end.link.at, end.writtenRuns(), end.told.join(', ')], [to, written, told], event)
        if (to === 'closed') t.equal(end.clock.timerCount, 0, `${event}: no timer is left`)
      }
    })
  }
}

t.test('RST is repeated with the same conversation, ever more slowly', async (t) => {
  const end = new Bench('host')
  end.link.open()
  end.clock.advanceMs(30_000)
  const resets = end.written.filter(({ frame }) => frame.type === Type.rst)
  t.strictSame(
    resets.map(({ atMs }) => atMs),
    [0, 500, 1500, 3500, 7500, 12_500, 17_500, 22_500, 27_500],
  )
  t.equal(new Set(resets.map(({ frame }) => conversationOf(frame))).size, 1)
  end.link.reset()
  end.clock.advanceMs(0)
  t.not(end.askedFor, conversationOf(must(resets[0], 'RST').frame), 'a new wish has a new number')
})

t.test('a frame is acknowledged with the next one, after a short wait, or with the second at once', async (t) => {
  const end = new Bench('host')
  end.bring('open')
  end.hear(Type.data, Buffer.from('a'))
  end.link.send(Buffer.from('answer'))
  end.clock.advanceMs(50)
  t.equal(end.writtenKinds(), 'DATA', 'the answer carries it')
  t.equal(end.written[0]?.frame.ack, 1)
  end.link.receive(toWire({ type: Type.ack, flags: 0, seq: 2, ack: 1, payload: Buffer.alloc(0) }))
  end.forget()

  end.hear(Type.data, Buffer.from('b'), { seq: 1, ack: 1 })
  end.clock.advanceMs(19)
  t.equal(end.writtenKinds(), '')
  end.clock.advanceMs(1)
  t.equal(end.writtenKinds(), 'ACK')
  end.forget()

  end.hear(Type.data, Buffer.from('c'), { seq: 2, ack: 1 })
  end.hear(Type.data, Buffer.from('d'), { seq: 3, ack: 1 })
  end.clock.advanceMs(0)
  t.strictSame([end.writtenKinds(), end.written[0]?.frame.ack], ['ACK', 4])
  t.equal(end.told.join(), 'bytes a,drain,bytes b,bytes c,bytes d')
})

t.test('what nobody reads the number of carries no acknowledgement', async (t) => {
  const end = new Bench('host')
  end.bring('open')
  end.hear(Type.data, Buffer.from('a'))
  end.hear(Type.time)
  t.equal(end.writtenKinds(), 'TIME')
  end.clock.advanceMs(20)
  t.equal(end.writtenKinds(), 'TIME ACK')
})

for (const role of ['host', 'device'] as const) {
  t.test(`what a line that echoes brings back of a ${role} is for nobody`, async (t) => {
    const end = new Bench(role)
    end.bring('open')
    end.hear(Type.data, Buffer.from('of the peer'))
    end.link.send(Buffer.from('one'))
    end.clock.advanceMs(60)
    const own = end.written.map(({ frame }) => frame)
    t.strictSame(
      own.map(({ type }) => type),
      [Type.data],
    )
    end.forget()
    end.told.length = 0
    for (const type of [Type.data, Type.ack, Type.nak, Type.ping, Type.err, Type.rst]) {
      // It would be the next one of the peer, and acknowledge what is under way.
      end.link.receive(toWire({ ...must(own[0], 'DATA'), type, flags: end.ownFlag, seq: 1, ack: 1 }))
    }
    end.clock.advanceMs(60)
    t.strictSame(end.told, [])
    t.equal(end.writtenKinds(), '')
    t.equal(end.link.bufferedByteCount, 3)
    t.equal(end.link.at, 'open')
  })
}

t.test('sending stops at the window of the peer', async (t) => {
  const end = new Bench('host')
  end.bring('open', { windowFrames: 2, mtuBytes: 48, creditBytes: 4000 })
  end.link.send(Buffer.alloc(400, 1))
  end.clock.advanceMs(60)
  t.strictSame(end.dataSeqs(), [0, 1])
  t.equal(end.written[0]?.frame.payload.length, 43)
  t.equal(end.written[0]?.frame.flags, 0)
  t.equal(end.link.bufferedByteCount, 400)
  end.hear(Type.ack, Buffer.alloc(0), { ack: 1 })
  t.strictSame(end.dataSeqs(), [0, 1, 2])
  t.equal(end.link.bufferedByteCount, 357)
})

t.test('sending stops at the credit of the peer', async (t) => {
  const end = new Bench('host')
  end.bring('open', { windowFrames: 7, mtuBytes: 48, creditBytes: 110 })
  end.link.send(Buffer.alloc(400, 1))
  end.clock.advanceMs(90)
  t.strictSame(end.dataSeqs(), [0, 1])
  t.ok(end.written.reduce((sum, { wireBytes }) => sum + wireBytes, 0) <= 110)
})

t.test('a frame longer than the credit is never made', async (t) => {
  const end = new Bench('host')
  end.bring('open', { windowFrames: 7, mtuBytes: 1152, creditBytes: 64 })
  end.link.send(Buffer.alloc(400, 1))
  end.clock.advanceMs(50)
  t.strictSame(end.dataSeqs(), [0])
  t.ok(must(end.written[0], 'frame').wireBytes <= 64)
})

t.test('frames wait until the line runs dry, so that an acknowledgement can overtake them', async (t) => {
  const end = new Bench('host')
  end.bring('open')
  end.link.send(Buffer.alloc(5000, 1))
  t.strictSame(end.dataSeqs(), [0], 'the first one holds the line for 100 ms')
  end.hear(Type.ping)
  end.clock.advanceMs(80)
  t.equal(end.writtenKinds(), 'DATA PONG')
  end.clock.advanceMs(10)
  t.equal(end.writtenKinds(), 'DATA PONG DATA')
})

t.test('what is not acknowledged is sent again, six times with growing waits, then the link is down', async (t) => {
  const end = new Bench('host')
  end.bring('open')
  end.link.send(Buffer.from('lost'))
  // Silence alone would end it after eight seconds.
  end.every(1000, () =>
    end.link.receive(toWire({ type: Type.pong, flags: 0, seq: 0, ack: 0, payload: Buffer.alloc(0) })),
  )
  end.clock.advanceMs(30_000)
  const sent = end.written.filter(({ frame }) => frame.type === Type.data)
  const waits = sent.slice(1).map(({ atMs }, at) => Math.round(atMs - must(sent[at], 'frame').atMs))
  t.strictSame(waits, [801, 1601, 2401, 2401, 2401])
  t.strictSame(
    sent.map(({ frame }) => frame.flags),
    [0, 1, 1, 1, 1, 1],
  )
  t.equal(end.told.join(), 'down no acknowledgement')
  t.equal(end.link.counters.timeoutCount, 6)
  t.equal(end.link.counters.retransmitCount, 5)
})

t.test('quick acknowledgements shorten the wait, but those of repeated frames do not count', async (t) => {
  const end = new Bench('host')
  end.bring('open')
  for (let seq = 0; seq < 30; seq++) {
    end.link.send(Buffer.from('x'))
    end.clock.advanceMs(10)
    end.hear(Type.ack, Buffer.alloc(0), { ack: seq + 1 })
  }
  end.forget()
  end.link.send(Buffer.from('y'))
  end.clock.advanceMs(110)
  t.equal(end.writtenKinds(), 'DATA DATA', 'sent again after 100 ms, not 800')
  // This acknowledgement seems to take no time at all, but it may be for the first copy.
  end.hear(Type.ack, Buffer.alloc(0), { ack: 31 })
  end.forget()
  end.link.send(Buffer.from('z'))
  end.clock.advanceMs(190)
  t.equal(end.writtenKinds(), 'DATA')
  end.clock.advanceMs(20)
  t.equal(end.writtenKinds(), 'DATA DATA', 'twice the last wait')
})

t.test('NAK brings everything from the missing frame on, once', async (t) => {
  const end = new Bench('host')
  end.bring('open', { windowFrames: 7, mtuBytes: 48, creditBytes: 4000 })
  end.link.send(Buffer.alloc(43 * 4, 1))
  end.clock.advanceMs(20)
  t.strictSame(end.dataSeqs(), [0, 1, 2, 3])
  end.forget()
  end.hear(Type.nak, Buffer.alloc(0), { ack: 1 })
  end.hear(Type.nak, Buffer.alloc(0), { ack: 1 })
  end.clock.advanceMs(10)
  t.strictSame(end.dataSeqs(), [1, 2, 3], 'the second NAK is about copies that are still on their way')
  t.ok(end.written.every(({ frame }) => frame.flags & Flag.retransmitted))
})

t.test('a line that proves faster than its rate, as USB does, is not waited for', async (t) => {
  const end = new Bench('host', 9600)
  end.bring('open', { windowFrames: 7, mtuBytes: 96, creditBytes: 4000 })
  end.clock.advanceMs(100)
  const rejectSoon = (seq: number): number[] => {
    end.forget()
    end.link.send(Buffer.alloc(91, 1))
    end.clock.advanceMs(2)
    end.hear(Type.nak, Buffer.alloc(0), { ack: seq })
    end.clock.advanceMs(2)
    return end.dataSeqs()
  }
  t.strictSame(rejectSoon(0), [0], 'a NAK before the frame can have left is about something else')
  for (const seq of [1, 2, 3]) {
    end.clock.advanceMs(200)
    end.hear(Type.ack, Buffer.alloc(0), { ack: seq })
    end.link.send(Buffer.alloc(91, 1))
    end.clock.advanceMs(2)
    end.hear(Type.ack, Buffer.alloc(0), { ack: seq + 1 })
  }
  t.strictSame(rejectSoon(4), [4, 4], 'sent again at once')
  end.clock.advanceMs(1000)
  t.ok(end.link.counters.timeoutCount > 0)
  end.hear(Type.ack, Buffer.alloc(0), { ack: 5 })
  const seqs = rejectSoon(5)
  t.equal(new Set(seqs).size, seqs.length, 'silence makes it believe in the rate again')
})

t.test('an acknowledgement while going back shortens the way, and skips nothing', async (t) => {
  const end = new Bench('host')
  end.bring('open', { windowFrames: 7, mtuBytes: 48, creditBytes: 4000 })
  end.link.send(Buffer.alloc(43 * 7, 1))
  end.clock.advanceMs(40)
  end.forget()
  end.hear(Type.nak)
  t.strictSame(end.dataSeqs(), [0, 1, 2], 'the line takes so much at once')
  end.hear(Type.ack, Buffer.alloc(0), { ack: 2 })
  end.clock.advanceMs(40)
  t.strictSame(end.dataSeqs(), [0, 1, 2, 3, 4, 5, 6])
})

t.test('what a conversation did not deliver is not counted for the next', async (t) => {
  const end = new Bench('host')
  end.bring('open')
  end.link.send(Buffer.alloc(5000))
  end.link.reset()
  t.equal(end.link.bufferedByteCount, 0)
})

t.test('a gap brings one NAK, and another when the repeated frame was lost too', async (t) => {
  const end = new Bench('host')
  end.bring('open')
  for (const seq of [1, 2, 3]) end.hear(Type.data, Buffer.from('late'), { seq })
  t.equal(end.writtenKinds(), 'NAK')
  end.hear(Type.data, Buffer.from('late'), { seq: 1, flags: Flag.retransmitted })
  t.equal(end.writtenKinds(), 'NAK NAK')
  end.hear(Type.data, Buffer.from('now'), { seq: 0, flags: Flag.retransmitted })
  t.equal(end.told.join(), 'bytes now')
})

t.test('garbage without end brings ten NAKs a second, not one for each piece', async (t) => {
  const end = new Bench('host')
  end.bring('open')
  for (let ms = 0; ms < 1000; ms++) {
    end.link.receive(Buffer.from([7, 7, 0]))
    end.clock.advanceMs(1)
  }
  t.equal(end.written.length, 10)
})

t.test('a frame that never passes although the peer answers ends the conversation', async (t) => {
  const end = new Bench('host')
  end.bring('open')
  end.link.send(Buffer.from('eaten by the line'))
  end.every(50, () => end.hear(Type.nak))
  t.equal(
    end.clock.advanceUntil(() => end.link.at !== 'open', 20_000),
    true,
  )
  t.equal(end.told.join(), 'down no acknowledgement')
})

t.test('losses shorten the frames, success makes them longer again', async (t) => {
  const end = new Bench('host')
  end.bring('open', { windowFrames: 1, mtuBytes: 1152, creditBytes: 4000 })
  const lengthOfNext = (): number => {
    end.clock.advanceMs(200)
    return must(end.written.at(-1), 'frame').frame.payload.length
  }
  let ack = 0
  let length = 1147
  end.link.send(Buffer.alloc(200_000, 1))
  t.equal(lengthOfNext(), length)
  for (let losses = 0; losses < 8; losses++) {
    end.hear(Type.nak, Buffer.alloc(0), { ack })
    end.clock.advanceMs(200)
    end.hear(Type.ack, Buffer.alloc(0), { ack: ++ack })
    length = Math.max(43, length >>> 1) + 4
    t.equal(lengthOfNext(), length)
  }
  for (let turn = 0; turn < 300; turn++) {
    end.hear(Type.ack, Buffer.alloc(0), { ack: ++ack & 0xff })
    lengthOfNext()
  }
  t.equal(lengthOfNext(), 1147)
})

t.test('a paused owner gets nothing; the peer is told to wait, and to go on', async (t) => {
  const end = new Bench('host')
  end.bring('open')
  end.link.pause()
  end.clock.advanceMs(0)
  t.strictSame([end.writtenKinds(), end.written[0]?.frame.flags], ['ACK', Flag.notReady])
  end.forget()
  end.hear(Type.data, Buffer.from('one '))
  end.hear(Type.data, Buffer.from('two '), { seq: 1 })
  end.clock.advanceMs(1000)
  t.equal(end.told.join(), '')
  t.ok(
    end.written.length >= 3 && end.written.every(({ frame }) => frame.flags === Flag.notReady),
    'told again and again',
  )
  t.equal(end.written.at(-1)?.frame.ack, 2, 'what was under way is kept')
  end.forget()
  end.link.resume()
  t.equal(end.told.join(), '', 'nothing inside the call')
  end.clock.advanceMs(0)
  end.hear(Type.data, Buffer.from('three'), { seq: 2 })
  t.equal(end.told.join(' '), 'bytes one  bytes two  bytes three')
  t.equal(end.written.at(-1)?.frame.flags, 0)
})

t.test('a paused owner holds no more than the credit of this end', async (t) => {
  const end = new Bench('host', 9600)
  end.bring('open')
  end.link.pause()
  for (let seq = 0; seq < 20; seq++) end.hear(Type.data, Buffer.alloc(60, 1), { seq })
  end.clock.advanceMs(500)
  const taken = must(end.written.at(-1), 'frame').frame.ack
  t.ok(taken >= 4 && taken * 60 <= 310, `${taken} frames of 60 bytes kept`)
  end.link.resume()
  end.clock.advanceMs(0)
  t.equal(end.told.length, taken)
})

t.test('a peer that is not ready gets no new frames, and owes no acknowledgement', async (t) => {
  const end = new Bench('host')
  end.bring('open')
  end.link.send(Buffer.from('before'))
  const notReady = () => end.hear(Type.ack, Buffer.alloc(0), { flags: Flag.notReady })
  notReady()
  const stop = end.every(480, notReady)
  end.link.send(Buffer.from('after'))
  end.clock.advanceMs(20_000)
  t.equal(end.link.at, 'open')
  t.equal(end.writtenKinds(), 'DATA')
  stop()
  end.hear(Type.ack, Buffer.alloc(0), { ack: 1 })
  t.equal(end.writtenKinds(), 'DATA DATA', 'the all-clear lets the next one go')
})

t.test('NOT-READY lapses when it is not repeated', async (t) => {
  const end = new Bench('host')
  end.bring('open')
  end.hear(Type.ack, Buffer.alloc(0), { flags: Flag.notReady })
  end.link.send(Buffer.from('x'))
  t.equal(end.writtenKinds(), '')
  end.clock.advanceMs(1001)
  t.equal(end.writtenKinds(), 'DATA')
})

t.test('drain comes once, when the last byte is acknowledged', async (t) => {
  const end = new Bench('host')
  end.bring('open')
  end.link.send(Buffer.from('one'))
  end.link.send(Buffer.from('two'))
  end.hear(Type.ack, Buffer.alloc(0), { ack: 1 })
  t.equal(end.told.join(), '')
  end.hear(Type.ack, Buffer.alloc(0), { ack: 2 })
  end.hear(Type.ack, Buffer.alloc(0), { ack: 2 })
  end.hear(Type.ack, Buffer.alloc(0), { ack: 9 })
  t.equal(end.told.join(), 'drain')
})

t.test('an owner may end the conversation from inside any of its calls', async (t) => {
  for (const during of ['bytes', 'drain', 'up', 'down', 'log']) {
    for (const ending of ['reset', 'close', 'leave'] as const) {
      const end = new Bench('host')
      end.bring('open')
      end.link.send(Buffer.from('x'))
      end.react = (told) => {
        if (told.startsWith(during)) end.link[ending]()
      }
      end.hear(Type.log, Buffer.from('hi'), { ack: 1 })
      end.hear(Type.data, Buffer.from('abc'), { ack: 1 })
      end.hear(Type.data, Buffer.from('def'), { ack: 1, seq: 1 })
      end.hear(Type.rst, end.hello({ conversation: 1234 }))
      end.react = () => {}
      end.clock.advanceMs(0)
      const after = end.told.slice(end.told.findIndex((told) => told.startsWith(during)) + 1)
      const allowed = ending === 'reset' && during !== 'down' && during !== 'up' ? ['up'] : []
      t.strictSame(after, allowed, `nothing of it comes after ${ending} during ${during}`)
      if (end.link.at === 'closed') t.equal(end.clock.timerCount, 0)
      end.clock.advanceMs(60_000)
    }
  }
})
