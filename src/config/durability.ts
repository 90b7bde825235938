/** What `durability` means in settings, wherever it stands. */

/** From the safest down. */
export const durabilities = ['disk', 'os', 'ram'] as const

export type Durability = (typeof durabilities)[number]
