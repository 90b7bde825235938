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
