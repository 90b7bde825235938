/**
 * SASLprep (RFC 4013): names and passwords that look the same become the same, and what cannot be seen or read in one
 * way only is not taken. Tables of RFC 3454 by their names there.
 *
 * Characters that Unicode 3.2 did not know are taken as they are, as of a query: passwords with newer ones exist.
 */

/** B.1: nothing is left of them. */
const ignored = /\u{34f}|[\u{180b}-\u{180d}]|[\u{fe00}-\u{fe0f}]|\u{200d}|[\u{ad}\u{1806}\u{200c}\u{2060}\u{feff}]/gu

/** C.1.2: spaces, but not that of ASCII. */
const spaces = /[\u{a0}\u{1680}\u{2000}-\u{200b}\u{202f}\u{205f}\u{3000}]/gu

const prohibited = new RegExp(
  `[${[
    '\\u{0}-\\u{1f}\\u{7f}', // C.2.1 control characters
    '\\u{80}-\\u{9f}\\u{6dd}\\u{70f}\\u{180e}\\u{2028}\\u{2029}\\u{2061}-\\u{2063}\\u{1d173}-\\u{1d17a}', // C.2.2
    '\\u{e000}-\\u{f8ff}\\u{f0000}-\\u{ffffd}\\u{100000}-\\u{10fffd}', // C.3 private use
    '\\p{Noncharacter_Code_Point}\\p{Cs}', // C.4, C.5
    '\\u{fff9}-\\u{fffd}\\u{2ff0}-\\u{2ffb}', // C.6, C.7
    '\\u{340}\\u{341}\\u{200e}\\u{200f}\\u{202a}-\\u{202e}\\u{206a}-\\u{206f}', // C.8 change how it is shown
    '\\u{e0001}\\u{e0020}-\\u{e007f}', // C.9 tags
  ].join('')}]`,
  'u',
)

/** D.1: characters that are written from right to left. */
const rightToLeft =
  '\\u{5be}\\u{5c0}\\u{5c3}\\u{5d0}-\\u{5ea}\\u{5f0}-\\u{5f4}\\u{61b}\\u{61f}\\u{621}-\\u{63a}\\u{640}-\\u{64a}' +
  '\\u{66d}-\\u{66f}\\u{671}-\\u{6d5}\\u{6dd}\\u{6e5}\\u{6e6}\\u{6fa}-\\u{6fe}\\u{700}-\\u{70d}\\u{710}' +
  '\\u{712}-\\u{72c}\\u{780}-\\u{7a5}\\u{7b1}\\u{200f}\\u{fb1d}\\u{fb1f}-\\u{fb28}\\u{fb2a}-\\u{fb36}' +
  '\\u{fb38}-\\u{fb3c}\\u{fb3e}\\u{fb40}\\u{fb41}\\u{fb43}\\u{fb44}\\u{fb46}-\\u{fbb1}\\u{fbd3}-\\u{fd3d}' +
  '\\u{fd50}-\\u{fd8f}\\u{fd92}-\\u{fdc7}\\u{fdf0}-\\u{fdfc}\\u{fe70}-\\u{fe74}\\u{fe76}-\\u{fefc}'
const someRightToLeft = new RegExp(`[${rightToLeft}]`, 'u')
const rightToLeftAtBothEnds = new RegExp(`^[${rightToLeft}](?:.*[${rightToLeft}])?$`, 'su')

/** D.2, which is what is left of the letters. */
const leftToRight = new RegExp(`(?![${rightToLeft}])[\\p{L}\\p{Mc}\\p{Nl}]`, 'u')

/** @returns undefined for text that may be no name and no password */
export function prepared(text: string): string | undefined {
  const mapped = text.replace(spaces, ' ').replace(ignored, '').normalize('NFKC')
  if (prohibited.test(mapped)) return undefined
  if (!someRightToLeft.test(mapped)) return mapped
  return rightToLeftAtBothEnds.test(mapped) && !leftToRight.test(mapped) ? mapped : undefined
}
