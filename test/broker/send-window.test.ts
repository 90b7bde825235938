import fc from 'fast-check'
import t from 'tap'
import { SendWindow, SlotState } from '../../src/broker/send-window.ts'

t.test('a send window behaves like a table of packet ids, through any sequence of sends and answers', async (t) => {
  const step = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ at: fc.constant('open' as const), qos: fc.constantFrom(1 as const, 2 as const) }),
    },
    { weight: 2, arbitrary: fc.record({ at: fc.constant('close' as const), pick: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ at: fc.constant('release' as const), pick: fc.nat() }) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const window = new SendWindow()
      const model = new Map<number, { state: number; seq: number }>()
      let seq = 0
      for (const action of steps) {
        const ids = [...model.keys()]
        if (action.at === 'open') {
          const packetId = window.open(action.qos, ++seq, undefined)
          if (packetId < 1 || packetId > 65_535 || model.has(packetId)) return false
          model.set(packetId, { state: action.qos === 1 ? SlotState.sentQos1 : SlotState.sentQos2, seq })
        } else if (ids.length > 0) {
          const packetId = ids[action.pick % ids.length] as number
          if (action.at === 'close') {
            window.close(packetId)
            model.delete(packetId)
          } else {
            window.release(packetId)
            model.set(packetId, { state: SlotState.released, seq: model.get(packetId)?.seq ?? 0 })
          }
        }
        const listed = [...window.packetIds()]
        if (listed.length !== model.size || window.count !== model.size) return false
        for (const [packetId, slot] of model) {
          if (window.stateOf(packetId) !== slot.state || window.seqOf(packetId) !== slot.seq) return false
        }
        const seqs = listed.map((packetId) => window.seqOf(packetId))
        if (seqs.some((value, index) => index > 0 && value <= (seqs[index - 1] as number))) return false
        if (window.oldestSeq !== seqs[0]) return false
      }
      return true
    }),
    { numRuns: 300 },
  )
  t.pass('300 sequences')
})

t.test('packet ids wrap round past 65 535 and skip the one that is still in use [MQTT-2.2.1-4]', async (t) => {
  const window = new SendWindow()
  const stuck = window.open(1, 1, undefined)
  const seen = new Set<number>()
  for (let i = 0; i < 140_000; i++) {
    const packetId = window.open(1, i + 2, undefined)
    if (packetId === stuck || packetId === 0) t.fail(`packet id ${packetId} while ${stuck} is in use`)
    seen.add(packetId)
    window.close(packetId)
  }
  t.ok(seen.size > 30_000)
  t.equal(window.count, 1)
  t.equal(window.oldestSeq, 1)
})

t.test('all 65 535 packet ids can be in use at once', async (t) => {
  const window = new SendWindow()
  const seen = new Set<number>()
  for (let i = 1; i <= 65_535; i++) seen.add(window.open(1, i, undefined))
  t.equal(seen.size, 65_535)
  t.throws(() => window.open(1, 65_536, undefined), /send window overflow/)
})

t.test('records of an earlier run come back under their packet ids', async (t) => {
  const window = new SendWindow()
  for (const [packetId, seq] of [
    [5, 10],
    [21, 11],
    [37, 12],
  ] as const) {
    window.restore({ packetId, seq, qos: packetId === 21 ? 2 : 1, isReleased: packetId === 21 })
  }
  t.same([...window.packetIds()], [5, 21, 37])
  t.equal(window.stateOf(21), SlotState.released)
  t.equal(window.packetIdOfSeq(12), 37)
  t.same(window.toRecords()[1], { packetId: 21, seq: 11, qos: 2, isReleased: true })
  t.equal(window.open(1, 13, undefined), 38, 'new ids go on behind them')
})

t.test('a later record takes over the packet id of an earlier one', async (t) => {
  const window = new SendWindow()
  window.restore({ packetId: 5, seq: 10, qos: 2, isReleased: true })
  window.restore({ packetId: 6, seq: 11, qos: 2, isReleased: true })
  window.restore({ packetId: 5, seq: 12, qos: 2, isReleased: false })
  t.same(
    window.toRecords().map(({ packetId, seq, isReleased }) => [packetId, seq, isReleased]),
    [
      [6, 11, true],
      [5, 12, false],
    ],
  )
  t.equal(window.oldestSeq, 11)
})
