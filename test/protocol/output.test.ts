import t from 'tap'
import { OutputBuffer } from '../../src/protocol/output.ts'

function write(out: OutputBuffer, text: string): void {
  out.ensure(text.length)
  out.length += out.bytes.write(text, out.length)
}

t.test('what was written comes out once, in order', async (t) => {
  const out = new OutputBuffer()
  const payload = Buffer.from('PAYLOAD')
  write(out, 'one')
  out.reference(payload)
  write(out, 'two')
  write(out, 'three')
  out.reference(payload)
  t.equal(out.byteCount, 25)
  const pieces = out.take()
  t.equal(Buffer.concat(pieces).toString(), 'onePAYLOADtwothreePAYLOAD')
  t.equal(pieces[1], payload, 'a referenced payload is not copied')
  t.equal(out.byteCount, 0)
  t.strictSame(out.take(), [])
})

t.test('growing keeps what is there', async (t) => {
  const out = new OutputBuffer()
  let expected = ''
  for (let i = 0; i < 5000; i++) {
    const text = `${i},`
    write(out, text)
    expected += text
  }
  t.equal(out.byteCount, expected.length)
  t.equal(Buffer.concat(out.take()).toString(), expected)
})

t.test('one packet larger than any tail has room', async (t) => {
  const out = new OutputBuffer()
  write(out, 'a')
  out.ensure(1_000_000)
  t.ok(out.bytes.length - out.length >= 1_000_000)
  t.equal(out.bytes.toString('latin1', 0, 1), 'a')
})

t.test('pieces that were taken are never written to again', async (t) => {
  const out = new OutputBuffer()
  const taken: Buffer[] = []
  let expected = ''
  for (let turn = 0; turn < 50; turn++) {
    for (let i = 0; i < turn; i++) {
      write(out, `${turn}.`)
      expected += `${turn}.`
      if (i % 3 === 0) {
        out.reference(Buffer.from('#'))
        expected += '#'
      }
    }
    taken.push(...out.take())
  }
  t.equal(Buffer.concat(taken).toString(), expected)
})

t.test('a small packet between large payloads does not cost a fresh tail each', async (t) => {
  const out = new OutputBuffer()
  const payload = Buffer.alloc(4096)
  for (let i = 0; i < 100; i++) {
    write(out, 'header')
    out.reference(payload)
  }
  const tails = new Set(
    out
      .take()
      .filter((piece) => piece !== payload)
      .map((piece) => piece.buffer),
  )
  t.ok(tails.size <= 4, `${tails.size} buffers`)
})

t.test('a long turn is not copied again and again: a tail that is full is left behind', async (t) => {
  const out = new OutputBuffer()
  const { copy } = Buffer.prototype
  t.teardown(() => {
    Buffer.prototype.copy = copy
  })
  let copiedByteCount = 0
  Buffer.prototype.copy = function (...args: Parameters<typeof copy>) {
    const byteCount = copy.apply(this, args)
    copiedByteCount += byteCount
    return byteCount
  }
  for (let turn = 0; turn < 2; turn++) {
    const before = copiedByteCount
    let expected = ''
    for (let i = 0; i < 100_000; i++) {
      write(out, `${i},`)
      expected += `${i},`
    }
    t.equal(out.byteCount, expected.length)
    t.equal(Buffer.concat(out.take()).toString(), expected)
    t.ok(copiedByteCount - before < 65_536, `${copiedByteCount - before} of ${expected.length} bytes copied`)
  }
})

t.test('a packet that is taken back leaves no byte behind, also when a new tail began with it', async (t) => {
  const out = new OutputBuffer()
  for (let byteCount = 0; byteCount < 70_000; byteCount += 1000) {
    const start = out.byteCount
    write(out, 'x'.repeat(1000))
    const kept = out.byteCount
    write(out, 'no'.repeat(1000))
    out.takeBack(out.byteCount - kept)
    t.equal(out.byteCount, start + 1000)
  }
  t.equal(Buffer.concat(out.take()).toString(), 'x'.repeat(70_000))
})
