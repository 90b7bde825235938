import t from 'tap'
import { LogPages, type MessagesAnswer } from '../../src/adapters/store-sqlite/log-pages.ts'
import { PackedMessages } from '../../src/adapters/store-sqlite/packed-messages.ts'
import { Failure } from '../../src/lib/errors.ts'

/** A file with pages of ten messages, that answers when it is told to. */
class PagedFile {
  readonly asked: number[] = []
  readonly pages: LogPages
  readonly #answers: (() => void)[] = []

  constructor(payloadBytes = 1) {
    this.pages = new LogPages((_lane, from, answer: MessagesAnswer) => {
      this.asked.push(from)
      this.#answers.push(() => answer(messages(from, 10, payloadBytes), undefined))
    })
  }

  answer(): void {
    for (const answer of this.#answers.splice(0)) answer()
  }
}

function messages(from: number, count: number, payloadBytes: number): PackedMessages {
  const column = <Value>(value: (place: number) => Value): Value[] => Array.from({ length: count }, (_, i) => value(i))
  const heads = [
    column((place) => from + place),
    column(() => 1),
    column(() => payloadBytes),
    column(() => 0),
    column(() => 2),
    column(() => null),
    column(() => 'publisher'),
    column(() => null),
    column(() => null),
  ]
  const bytes = Buffer.alloc(count * (1 + payloadBytes), 't')
  return new PackedMessages({ heads: JSON.stringify(heads), bytes })
}

t.test('who asks for a page that is being read gets it with the first', (t) => {
  const file = new PagedFile()
  const got: (number | undefined)[] = []
  file.pages.load(undefined, 1, (page) => got.push(page?.lastSeq))
  file.pages.load(undefined, 1, (page) => got.push(page?.lastSeq))
  file.answer()
  t.strictSame(file.asked, [1])
  t.strictSame(got, [10, 10])
  t.end()
})

t.test('a page is found by each of its messages, and only for its lane', (t) => {
  const file = new PagedFile()
  file.pages.load(2, 5, () => {})
  t.equal(file.pages.find(2, 5), undefined, 'it is not here yet')
  file.answer()
  const firsts = [4, 5, 9, 14, 15].map((seq) => file.pages.find(2, seq)?.firstSeq)
  t.strictSame(firsts, [undefined, 5, 5, 5, undefined])
  t.equal(file.pages.find(undefined, 5), undefined)
  t.end()
})

t.test('what is read ahead is read once, and asked for in vain while it is on its way', (t) => {
  const file = new PagedFile()
  t.equal(file.pages.readAhead(undefined, 11), undefined)
  t.equal(file.pages.readAhead(undefined, 11), undefined)
  let lastSeq: number | undefined
  file.pages.load(undefined, 11, (page) => {
    lastSeq = page?.lastSeq
  })
  file.answer()
  t.equal(lastSeq, 20)
  t.equal(file.pages.readAhead(undefined, 11)?.lastSeq, 20)
  t.strictSame(file.asked, [11])
  t.end()
})

t.test('memory is bounded: the pages used last are kept', (t) => {
  const file = new PagedFile(100_000)
  const firsts = Array.from({ length: 20 }, (_, i) => 1 + i * 10)
  for (const seq of firsts) {
    file.pages.load(undefined, seq, () => {})
    file.answer()
    t.ok(file.pages.find(undefined, 1), 'used again and again')
  }
  t.strictSame(
    firsts.filter((seq) => file.pages.find(undefined, seq) !== undefined),
    [1, 131, 141, 151, 161, 171, 181, 191],
    'eight megabytes',
  )
  file.pages.keep(({ lastSeq }) => lastSeq > 190)
  t.strictSame(
    firsts.filter((seq) => file.pages.find(undefined, seq) !== undefined),
    [191],
  )
  t.end()
})

t.test('a page of a lane that was read to its end is let go, others stay for who comes later', (t) => {
  const file = new PagedFile()
  for (const lane of [2, undefined] as const) {
    file.pages.load(lane, 1, () => {})
    file.answer()
    const page = file.pages.find(lane, 1)
    if (page === undefined) throw new Error('it is here')
    file.pages.passed(page)
  }
  t.equal(file.pages.find(2, 1), undefined)
  t.equal(file.pages.find(undefined, 1)?.lastSeq, 10)
  t.end()
})

t.test('a page that cannot be read is told to all, and read anew by the next', (t) => {
  const failure = new Failure('ERR_STORE_READ', 'tidegate.db')
  let asked = 0
  const pages = new LogPages((_lane, _from, answer) => {
    asked++
    answer(undefined, failure)
  })
  const got: unknown[] = []
  for (let i = 0; i < 2; i++) pages.load(undefined, 1, (page, why) => got.push(page, why))
  t.strictSame(got, [undefined, failure, undefined, failure])
  t.equal(asked, 2)
  t.end()
})

t.test('messages that do not rise, or do not fit their bytes, are a failure of the store', (t) => {
  const row = (keys: number[], bytes: string): (() => PackedMessages) => {
    const column = (value: unknown): unknown[] => keys.map(() => value)
    const heads = JSON.stringify([keys, ...[1, 1, 0, 0, null, '', null, null].map(column)])
    return () => new PackedMessages({ heads, bytes: Buffer.from(bytes) })
  }
  t.equal(row([1, 3], 'axby')().at(1).publish.payload.toString(), 'y')
  t.throws(row([3, 1], 'axby'), { code: 'ERR_STORE_READ' })
  t.throws(row([1, 3], 'axbyz'), { code: 'ERR_STORE_READ' })
  t.end()
})
