/**
 * The file of what passed on serial lines: text, a head and then one line for each piece of bytes, in the order of time.
 *
 *   # tidegate capture 1, noisy-line, seed 7
 *   1234.567 meter-1 < 00022001
 *
 * Milliseconds from the start, the line, `<` from the device or `>` to it, and the bytes in hex, as they are at the
 * gateway's end: what came from the device with what the line did to it, what goes to the device without.
 */
export interface CapturedPiece {
  readonly atMs: number
  /** A name without blanks. */
  readonly line: string
  readonly from: 'device' | 'gateway'
  readonly bytes: Buffer
}

const head = '# tidegate capture 1'
const pieceLine = /^(\d+(?:\.\d+)?) (\S+) ([<>]) ((?:[0-9a-f]{2})+)$/

/** The first line of a file; what is about may say where it comes from. */
export function captureHead(about: string): string {
  return `${head}, ${about}\n`
}

export function isCapture(text: string): boolean {
  return text.startsWith(head)
}

export function captureLine({ atMs, line, from, bytes }: CapturedPiece): string {
  return `${atMs.toFixed(3)} ${line} ${from === 'device' ? '<' : '>'} ${bytes.toString('hex')}\n`
}

/** undefined: not a piece, such as a remark or a line that was cut off. */
export function readCaptureLine(text: string): CapturedPiece | undefined {
  const [, atMs, line = '', arrow, hex = ''] = pieceLine.exec(text) ?? []
  if (atMs === undefined) return undefined
  return { atMs: Number(atMs), line, from: arrow === '<' ? 'device' : 'gateway', bytes: Buffer.from(hex, 'hex') }
}
