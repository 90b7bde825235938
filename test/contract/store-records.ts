/** The part of the store's contract (store.ts) that is about sessions, QoS 2 inbox, retained messages and marks. */
import type { Test } from 'tap'
import type { SessionClaim } from '../../src/ports/store.ts'
import {
  fullMessage,
  lossRecord,
  type MakeStore,
  message,
  plainSession,
  StoreRun,
  sessionRecord,
  subscriptionRecord,
  toPlain,
  turnEnd,
} from './store-run.ts'

export function recordContract(t: Test, makeStore: MakeStore): void {
  claimContract(t, makeStore)

  t.test('a saved record loads as it was saved', async (t) => {
    const harness = await makeStore(t)
    const run = await StoreRun.start(harness.open())
    const records = [
      sessionRecord('bare'),
      sessionRecord('__proto__', { epoch: 3, cursor: 2 ** 40 }),
      sessionRecord('full "quoted" ⚡ \u{1F600}', {
        version: 5,
        epoch: 2 ** 40,
        expiryIntervalSeconds: 0xffff_fffe,
        disconnectedAtMs: 12.5,
        cursor: 7,
        sentSeq: 9,
        subscriptions: [
          subscriptionRecord('#'),
          subscriptionRecord('a/+/⚡', {
            qos: 2,
            noLocal: true,
            retainHandling: 2,
            subscriptionIdentifier: 5,
            sinceSeq: 3,
          }),
        ],
        outbound: [
          { packetId: 1, seq: 8, qos: 1, isReleased: false },
          { packetId: 65_535, seq: 9, qos: 2, isReleased: true },
        ],
        will: { message: fullMessage(), delaySeconds: 30, dueAtMs: 99.5 },
      }),
      sessionRecord('will of an open connection', {
        will: { message: message('w', 0), delaySeconds: 0, dueAtMs: undefined },
      }),
    ]
    for (const record of records) run.store.sessions.save(record)
    await run.settle()
    const next = await StoreRun.start(harness.crash(run.store))
    t.strictSame([...next.sessions.values()].map(plainSession), records.map(plainSession))
    await next.store.close()
  })

  t.test(
    'the last save of a client id wins; a save with a lower epoch than the stored one changes nothing',
    async (t) => {
      const harness = await makeStore(t)
      let run = await StoreRun.start(harness.open())
      for (const version of [3, 4, 5] as const)
        run.store.sessions.save(sessionRecord('same turn', { version, epoch: 2 }))
      run.store.sessions.save(sessionRecord('same turn', { version: 3, epoch: 1 }))
      run.store.sessions.save(sessionRecord('later turn', { version: 5, epoch: 2 }))
      await run.settle()
      run.store.sessions.save(sessionRecord('later turn', { version: 3, epoch: 1 }))
      await run.settle()
      run = await StoreRun.start(harness.crash(run.store))
      run.store.sessions.save(sessionRecord('same turn', { version: 3, epoch: 1 }))
      run.store.sessions.save(sessionRecord('later turn', { version: 4, epoch: 2 }))
      await run.settle()
      run = await StoreRun.start(harness.crash(run.store))
      t.equal(run.sessions.get('same turn')?.version, 5)
      t.equal(run.sessions.get('later turn')?.version, 4)
      await run.store.close()
    },
  )

  t.test(
    '`saveCursor` moves the cursor of a stored record and nothing else; of an unknown client it does nothing',
    async (t) => {
      const harness = await makeStore(t)
      let run = await StoreRun.start(harness.open())
      const record = sessionRecord('a', { sentSeq: 4, subscriptions: [subscriptionRecord('#')], epoch: 3 })
      run.store.sessions.save(record)
      run.store.sessions.saveCursor('a', 1)
      run.store.sessions.saveCursor('b', 1)
      await run.settle()
      run.store.sessions.saveCursor('a', 2)
      run.store.sessions.save({ ...record, epoch: 2, cursor: 99 })
      run.store.sessions.save(sessionRecord('c', { cursor: 5 }))
      run.store.sessions.saveCursor('c', 6)
      run.store.sessions.save(sessionRecord('c', { cursor: 7 }))
      await run.settle()
      run = await StoreRun.start(harness.crash(run.store))
      t.strictSame([...run.sessions.values()].map(plainSession), [
        plainSession({ ...record, cursor: 2 }),
        plainSession(sessionRecord('c', { cursor: 7 })),
      ])
      await run.store.close()
    },
  )

  t.test(
    '`saveOutbound` adds to `outbound` of a stored record, or replaces what has the same seq and packet id; of an unknown client it does nothing',
    async (t) => {
      const harness = await makeStore(t)
      let run = await StoreRun.start(harness.open())
      const sent = (seq: number, packetId: number) => ({ packetId, seq, qos: 2, isReleased: false }) as const
      const released = (seq: number, packetId: number) => ({ packetId, seq, qos: 2, isReleased: true }) as const
      const record = sessionRecord('a', { cursor: 3, epoch: 2, outbound: [sent(4, 1), sent(5, 2)] })
      run.store.sessions.saveOutbound('a', sent(9, 9))
      run.store.sessions.save(record)
      run.store.sessions.saveOutbound('a', released(5, 2))
      run.store.sessions.saveOutbound('a', sent(6, 3))
      run.store.sessions.saveOutbound('nobody', sent(4, 1))
      await run.settle()
      run.store.sessions.saveOutbound('a', released(6, 3))
      run.store.sessions.saveOutbound('a', sent(7, 3))
      run.store.sessions.saveOutbound('a', sent(0, 4))
      run.store.sessions.saveOutbound('a', sent(0, 5))
      run.store.sessions.save({ ...record, epoch: 1 })
      await run.settle()
      run = await StoreRun.start(harness.crash(run.store))
      t.strictSame([...run.sessions.keys()], ['a'])
      t.strictSame(
        run.sessions.get('a')?.outbound.toSorted((one, other) => one.seq - other.seq || one.packetId - other.packetId),
        [sent(0, 4), sent(0, 5), sent(4, 1), released(5, 2), released(6, 3), sent(7, 3)],
      )
      run.store.sessions.saveOutbound('a', sent(8, 6))
      run.store.sessions.save(record)
      run.store.sessions.saveOutbound('a', released(4, 1))
      await run.settle()
      run = await StoreRun.start(harness.crash(run.store))
      t.strictSame(run.sessions.get('a')?.outbound, [released(4, 1), sent(5, 2)], 'a save says it all anew')
      await run.store.close()
    },
  )

  t.test('messages in `outbound` that the cursor has passed do not load', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    const sent = (seq: number) => ({ packetId: seq + 1, seq, qos: 2, isReleased: false }) as const
    run.store.sessions.save(sessionRecord('a', { cursor: 1, outbound: [sent(2), sent(4)] }))
    for (const seq of [0, 3, 5]) run.store.sessions.saveOutbound('a', sent(seq))
    run.store.sessions.saveCursor('a', 3)
    run.store.sessions.save(sessionRecord('b'))
    run.store.sessions.saveOutbound('b', sent(1))
    await run.settle()
    run.store.sessions.saveCursor('a', 4)
    await run.settle()
    run = await StoreRun.start(harness.crash(run.store))
    t.strictSame(run.sessions.get('a')?.outbound, [sent(0), sent(5)])
    t.strictSame(run.sessions.get('b')?.outbound, [sent(1)])
    await run.store.close()
  })

  t.test('a removed session does not load', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    for (const clientId of ['gone at once', 'gone later', 'back', 'stays']) {
      run.store.sessions.save(sessionRecord(clientId, { epoch: 5 }))
      run.store.sessions.saveOutbound(clientId, { packetId: 1, seq: 2, qos: 2, isReleased: false })
    }
    run.store.sessions.remove('gone at once')
    run.store.sessions.saveCursor('gone at once', 3)
    await run.settle()
    run.store.sessions.remove('gone later')
    run.store.sessions.remove('back')
    run.store.sessions.save(sessionRecord('back', { epoch: 1 }))
    await run.settle()
    run = await StoreRun.start(harness.crash(run.store))
    t.strictSame([...run.sessions.keys()].sort(), ['back', 'stays'])
    t.equal(run.sessions.get('back')?.epoch, 1)
    t.strictSame(run.sessions.get('back')?.outbound, [])
    await run.store.close()
  })

  t.test('an id that was put and not released loads', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    for (const packetId of [1, 2, 65_535]) run.store.inbox.put('a', packetId)
    run.store.inbox.put('b', 1)
    run.store.inbox.put('b', 1)
    await run.settle()
    run.store.inbox.put('b', 1)
    run.store.inbox.release('a', 2)
    run.store.inbox.put('a', 2)
    run.store.inbox.clear('c')
    run.store.inbox.put('c', 4)
    await run.settle()
    run = await StoreRun.start(harness.crash(run.store))
    t.strictSame(run.inbox.sort(), ['a 1', 'a 2', 'a 65535', 'b 1', 'c 4'])
    await run.store.close()
  })

  t.test('an id that was released or cleared does not load', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    for (const packetId of [1, 2, 3]) for (const clientId of ['a', 'b']) run.store.inbox.put(clientId, packetId)
    run.store.inbox.release('a', 1)
    await run.settle()
    run.store.inbox.release('a', 2)
    run.store.inbox.put('b', 4)
    run.store.inbox.clear('b')
    await run.settle()
    run = await StoreRun.start(harness.crash(run.store))
    t.strictSame(run.inbox, ['a 3'])
    await run.store.close()
  })

  t.test('the last message set for a topic loads, with the time at which it was set', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    const last = fullMessage()
    last.retain = true
    last.changedAtMs = 1_767_225_600_123
    run.store.retained.set(message(last.topic, 5))
    run.store.retained.set(message('other', 5))
    run.store.retained.set(last)
    await run.settle()
    run.store.retained.set(message('other', 0))
    await run.settle()
    run = await StoreRun.start(harness.crash(run.store))
    t.strictSame(run.retained.map(toPlain), [toPlain(last), toPlain(message('other', 0))])
    t.equal(run.retained[0]?.changedAtMs, last.changedAtMs)
    await run.store.close()
  })

  t.test('a message without payload is kept like any other: it stands for a deletion', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    const deletion = message('gone', 0)
    deletion.retain = true
    deletion.changedAtMs = 7000
    run.store.retained.set(message('gone', 5))
    run.store.retained.set(deletion)
    await run.settle()
    run = await StoreRun.start(harness.crash(run.store))
    t.strictSame(run.retained.map(toPlain), [toPlain(deletion)])
    t.equal(run.retained[0]?.changedAtMs, 7000)
    await run.store.close()
  })

  t.test('a cleared topic does not load', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    for (const topic of ['a', 'b', 'c', 'd']) run.store.retained.set(message(topic))
    run.store.retained.clear('a')
    await run.settle()
    run.store.retained.clear('b')
    run.store.retained.clear('c')
    run.store.retained.set(message('c'))
    await run.settle()
    run = await StoreRun.start(harness.crash(run.store))
    t.strictSame(run.retained.map(({ topic }) => topic).sort(), ['c', 'd'])
    await run.store.close()
  })

  t.test('the last mark set for a key loads', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    for (let seq = 1; seq <= 3; seq++) run.store.marks.set('gw/0', { epoch: 'old', seq })
    await run.settle()
    run.store.marks.set('gw/0', { epoch: 'new', seq: 2 ** 40 })
    run.store.marks.set('gw/1', { epoch: 'new', seq: 0 })
    await run.settle()
    run = await StoreRun.start(harness.crash(run.store))
    t.strictSame(
      [...run.marks],
      [
        ['gw/0', { epoch: 'new', seq: 2 ** 40 }],
        ['gw/1', { epoch: 'new', seq: 0 }],
      ],
    )
    await run.store.close()
  })

  t.test(
    'a mark is durable in the same group commit as the messages appended before it in the same turn',
    async (t) => {
      for (let turns = 0; turns < 6; turns++) {
        const harness = await makeStore(t)
        const run = await StoreRun.start(harness.open())
        for (let turn = 0; turn <= turns; turn++) {
          for (let i = 0; i < 3; i++) {
            const seq = run.store.log.append(message('a'))
            run.store.marks.set('lane', { epoch: 'e', seq })
          }
          await turnEnd()
        }
        const next = await StoreRun.start(harness.crash(run.store))
        t.equal(next.marks.get('lane')?.seq ?? 0, next.store.log.lastSeq)
        await next.store.close()
      }
    },
  )

  t.test('a delay that was put and not removed loads', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    run.store.delays.put({ id: 7, dueAtMs: 2 ** 41, message: fullMessage() })
    run.store.delays.put({ id: 8, dueAtMs: 0, message: message('d', 0) })
    await run.settle()
    run = await StoreRun.start(harness.crash(run.store))
    t.strictSame(
      run.delays.map((record) => ({ ...record, message: toPlain(record.message) })),
      [
        { id: 7, dueAtMs: 2 ** 41, message: toPlain(fullMessage()) },
        { id: 8, dueAtMs: 0, message: toPlain(message('d', 0)) },
      ],
    )
    await run.store.close()
  })

  t.test('a removed delay does not load', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    for (const id of [1, 2, 3]) run.store.delays.put({ id, dueAtMs: 0, message: message('d') })
    run.store.delays.remove(2)
    await run.settle()
    run.store.delays.remove(1)
    await run.settle()
    run = await StoreRun.start(harness.crash(run.store))
    t.strictSame(
      run.delays.map(({ id }) => id),
      [3],
    )
    await run.store.close()
  })

  t.test(
    'the removal of a delay is durable in the same group commit as the message appended in the same turn',
    async (t) => {
      for (let turns = 0; turns < 6; turns++) {
        const harness = await makeStore(t)
        const run = await StoreRun.start(harness.open())
        for (let id = 1; id <= 10; id++) run.store.delays.put({ id, dueAtMs: 0, message: message('d') })
        await run.settle()
        for (let id = 1; id <= 4 + turns; id++) {
          run.store.log.append(message('d'))
          run.store.delays.remove(id)
          await turnEnd()
        }
        const next = await StoreRun.start(harness.crash(run.store))
        t.equal(next.delays.length + next.store.log.lastSeq, 10)
        await next.store.close()
      }
    },
  )

  t.test('the last record put with a number loads', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    const unknown = lossRecord(3, { reason: 'quarantined', scope: 'a "⚡"', firstSeq: 0, lastSeq: 0, count: undefined })
    for (const count of [1, 2]) run.store.ledger.put(lossRecord(1, { count }))
    run.store.ledger.put(lossRecord(2, { lane: 3, firstSeq: 2 ** 40, lastSeq: 2 ** 41, count: 2 ** 33 }))
    run.store.ledger.put(unknown)
    await run.settle()
    run.store.ledger.put(lossRecord(1, { count: 9 }))
    await run.settle()
    run = await StoreRun.start(harness.crash(run.store))
    t.strictSame(run.losses, [
      lossRecord(1, { count: 9 }),
      lossRecord(2, { lane: 3, firstSeq: 2 ** 40, lastSeq: 2 ** 41, count: 2 ** 33 }),
      unknown,
    ])
    await run.store.close()
  })

  t.test('a removed record does not load', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    for (const number of [1, 2, 3, 4]) run.store.ledger.put(lossRecord(number))
    run.store.ledger.remove(1)
    run.store.ledger.remove(2)
    run.store.ledger.put(lossRecord(2))
    await run.settle()
    run.store.ledger.remove(3)
    await run.settle()
    run = await StoreRun.start(harness.crash(run.store))
    t.strictSame(
      run.losses.map(({ number }) => number),
      [2, 4],
    )
    await run.store.close()
  })

  t.test('a record is durable in the same group commit as what was written before it in the same turn', async (t) => {
    for (let turns = 0; turns < 3; turns++) {
      const harness = await makeStore(t)
      const run = await StoreRun.start(harness.open())
      run.store.sessions.save(sessionRecord('a'))
      for (let turn = 1; turn <= turns; turn++) {
        run.store.sessions.saveCursor('a', turn)
        run.store.ledger.put(lossRecord(1, { lastSeq: turn }))
        await turnEnd()
      }
      const next = await StoreRun.start(harness.crash(run.store))
      t.equal(next.losses[0]?.lastSeq ?? 0, next.sessions.get('a')?.cursor ?? 0)
      await next.store.close()
    }
  })
}

/** What a claim answers; the stores here answer inside the call. */
function claimed(run: StoreRun, clientId: string): number {
  const claims: SessionClaim[] = []
  run.store.sessions.claim(clientId, (claim) => claims.push(claim))
  const [claim] = claims
  if (claims.length !== 1 || claim?.kind !== 'ours') throw new Error('a claim that was not answered once')
  return claim.epoch
}

function claimContract(t: Test, makeStore: MakeStore): void {
  t.test(
    'a claim answers an epoch above that of every earlier claim and save of the client id; exactly once, inside the call or later',
    async (t) => {
      const harness = await makeStore(t)
      let run = await StoreRun.start(harness.open())
      const first = claimed(run, 'a')
      const second = claimed(run, 'a')
      t.ok(second > first)
      run.store.sessions.save(sessionRecord('a', { epoch: second }))
      run.store.sessions.save(sessionRecord('b', { epoch: 40 }))
      t.ok(claimed(run, 'a') > second, 'in the turn of the save')
      await run.settle()
      t.ok(claimed(run, 'b') > 40)
      run = await StoreRun.start(harness.crash(run.store))
      t.ok(claimed(run, 'a') > second)
      t.ok(claimed(run, 'b') > 40)
      await run.store.close()
    },
  )

  t.test(
    'a save with a lower epoch than the last claim changes nothing: of those who claimed, only the last may write',
    async (t) => {
      const harness = await makeStore(t)
      const run = await StoreRun.start(harness.open())
      const epochs = [1, 2, 3].map(() => claimed(run, 'a'))
      for (const epoch of [2, 0, 1].map((index) => epochs[index] as number)) {
        run.store.sessions.save(sessionRecord('a', { epoch, cursor: epoch }))
      }
      await run.settle()
      const next = await StoreRun.start(harness.crash(run.store))
      t.equal(next.sessions.get('a')?.epoch, epochs[2])
      await next.store.close()
    },
  )

  t.test('a claim that is released is forgotten; what was saved, and a later claim, is not', async (t) => {
    const harness = await makeStore(t)
    const run = await StoreRun.start(harness.open())
    const epoch = claimed(run, 'a')
    run.store.sessions.save(sessionRecord('a', { epoch }))
    const inVain = claimed(run, 'a')
    run.store.sessions.release('a', inVain)
    run.store.sessions.save(sessionRecord('a', { epoch, version: 3 }))
    run.store.sessions.release('b', claimed(run, 'b'))
    const [early, late] = [claimed(run, 'c'), claimed(run, 'c')]
    run.store.sessions.release('c', early)
    run.store.sessions.save(sessionRecord('c', { epoch: early }))
    await run.settle()
    const next = await StoreRun.start(harness.crash(run.store))
    t.same([...next.sessions.keys()], ['a'])
    t.equal(next.sessions.get('a')?.version, 3)
    t.ok(late > early)
    await next.store.close()
  })
}
