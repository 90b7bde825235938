/**
 * Points in time as text for people and dashboards, from a number alone: the core has no calendar of its own.
 * Gregorian calendar, UTC, no leap seconds.
 */

const dayMs = 86_400_000

/** Days in 400 years, after which the calendar repeats itself. */
const eraDays = 146_097

/** Days from 0000-03-01 to 1970-01-01. */
const epochDays = 719_468

/**
 * RFC 3339 with milliseconds.
 * @param wallMs milliseconds since 1970, not negative
 * @example utcText(0) // '1970-01-01T00:00:00.000Z'
 */
export function utcText(wallMs: number): string {
  const days = Math.floor(wallMs / dayMs)
  const { year, month, day } = dateOf(days)
  const ofDay = Math.floor(wallMs - days * dayMs)
  const date = `${padded(year, 4)}-${padded(month, 2)}-${padded(day, 2)}`
  const [hours, minutes, seconds] = [ofDay / 3_600_000, (ofDay / 60_000) % 60, (ofDay / 1000) % 60]
  return `${date}T${padded(hours, 2)}:${padded(minutes, 2)}:${padded(seconds, 2)}.${padded(ofDay % 1000, 3)}Z`
}

/** Years begin in March here, so that the leap day is the last day of its year. */
function dateOf(daysSince1970: number): { year: number; month: number; day: number } {
  const days = daysSince1970 + epochDays
  const era = Math.floor(days / eraDays)
  const dayOfEra = days - era * eraDays
  const leapDays = Math.floor(dayOfEra / 1460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / (eraDays - 1))
  const yearOfEra = Math.floor((dayOfEra - leapDays) / 365)
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day }
}

function padded(value: number, digits: number): string {
  return String(Math.floor(value)).padStart(digits, '0')
}
