/**
 * What a UART hears that runs at another speed than the sender, 8N1: it waits for a falling edge, looks at the level
 * in the middle of what it takes for each bit, and begins anew after what it takes for the stop bit. Up to some four
 * percent apart nothing happens; beyond that bits are read twice or missed, as on a real line.
 */
const bitsPerByte = 10
const stopBit = 9

/** @param ratio baud rate of the receiver divided by that of the sender. The line is idle before and after `sent`. */
export function resampled(sent: Buffer, ratio: number): Buffer {
  const level = levelsOf(sent)
  /** Bits of the sender in a bit of the receiver. */
  const step = 1 / ratio
  const received: number[] = []
  let at = 0
  for (;;) {
    const edge = fallingEdge(level, at)
    if (edge < 0) return Buffer.from(received)
    const sample = (bit: number): number => levelAt(level, edge + (bit + 0.5) * step)
    at = edge + (stopBit + 0.5) * step
    if (sample(0) === 1) {
      at = edge + 1 // Too short for a start bit.
      continue
    }
    let byte = 0
    for (let bit = 0; bit < 8; bit++) byte |= sample(bit + 1) << bit
    // Without its stop bit it is a framing error, and a tty hands that over as a zero.
    received.push(sample(stopBit) === 1 ? byte : 0)
  }
}

/** The level in each bit time of the sender: start bit 0, eight bits from the lowest, stop bit 1. */
function levelsOf(bytes: Buffer): Uint8Array {
  const level = new Uint8Array(bytes.length * bitsPerByte)
  for (const [index, byte] of bytes.entries()) {
    const first = index * bitsPerByte
    for (let bit = 0; bit < 8; bit++) level[first + 1 + bit] = (byte >> bit) & 1
    level[first + stopBit] = 1
  }
  return level
}

function levelAt(level: Uint8Array, time: number): number {
  return level[Math.floor(time)] ?? 1
}

/** The first bit time from `from` on in which the level falls; -1 when it does not fall any more. */
function fallingEdge(level: Uint8Array, from: number): number {
  for (let at = Math.ceil(from); at < level.length; at++) {
    if (levelAt(level, at) === 0 && (at === 0 || levelAt(level, at - 1) === 1)) return at
  }
  return -1
}
