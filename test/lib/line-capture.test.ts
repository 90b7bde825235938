/** The file of what passed on serial lines. */
import t from 'tap'
import { captureHead, captureLine, isCapture, readCaptureLine } from '../../src/lib/line-capture.ts'

t.test('a piece reads as it was written', async (t) => {
  const piece = { atMs: 1234.567, line: 'meter-1', from: 'device', bytes: Buffer.from([0, 0x20, 0xff]) } as const
  t.equal(captureLine(piece), '1234.567 meter-1 < 0020ff\n')
  t.strictSame(readCaptureLine(captureLine(piece).trimEnd()), piece)
  const back = { ...piece, from: 'gateway' } as const
  t.strictSame(readCaptureLine(captureLine(back).trimEnd()), back)
})

t.test('anything else is no piece', async (t) => {
  for (const text of ['', '# remark', '1.0 a < ', '1.0 a < 0', '1.0 a < 0g', '1.0 a - 00', 'x a < 00', '1.0 a b < 00'])
    t.equal(readCaptureLine(text), undefined, text)
})

t.test('a file is known by its head', async (t) => {
  t.ok(isCapture(captureHead('noisy-line, seed 7')))
  t.notOk(isCapture('{"level":"info"}'))
})
