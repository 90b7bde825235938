/**
 * Who of a group comes first for a message. A strategy only names where to begin: a member that is away or full is
 * passed over and the next one in the ring takes the message (share-group.ts).
 */
import type { Random } from '../ports/random.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import type { Member } from './share-group.ts'

export type ShareStrategy =
  | 'random'
  | 'round_robin'
  | 'round_robin_per_group'
  | 'sticky'
  | 'local'
  | 'hash_clientid'
  | 'hash_topic'
  | 'least_inflight'

/** @returns where to begin in `members`, which are not empty */
export type FirstMember = (message: Publish, members: readonly Member[]) => number

/** Publishers whose turn one group remembers; of one that was forgotten the turn begins anew. */
const publishersMax = 1024

/** A group's own copy of a strategy: turns are not shared between groups. */
export function firstMember(strategy: ShareStrategy, random: Random): FirstMember {
  switch (strategy) {
    case 'random':
      return (_message, members) => Math.floor(random.next() * members.length)
    case 'round_robin':
    case 'local': // One node is as local as any other member can be.
      return turnOfPublisher()
    case 'round_robin_per_group':
      return turnOfGroup()
    case 'sticky':
      return stickToOne()
    case 'hash_clientid':
      return (message, members) => hash(message.publisher) % members.length
    case 'hash_topic':
      return (message, members) => hash(message.topic) % members.length
    case 'least_inflight':
      return leastInflight
  }
}

function turnOfGroup(): FirstMember {
  let turn = -1
  return (_message, members) => {
    turn = (turn + 1) % members.length
    return turn
  }
}

/** Every publisher goes round by itself; new ones begin one after the other, so that many small ones spread too. */
function turnOfPublisher(): FirstMember {
  const turns = new Map<string, number>()
  let begun = -1
  return ({ publisher }, members) => {
    const former = turns.get(publisher)
    if (former === undefined && turns.size >= publishersMax) {
      for (const oldest of turns.keys()) {
        turns.delete(oldest)
        break
      }
    }
    const turn = (former === undefined ? ++begun : former + 1) % members.length
    turns.set(publisher, turn)
    return turn
  }
}

/** One member has everything until it goes away. */
function stickToOne(): FirstMember {
  let chosen: Member | undefined
  return (_message, members) => {
    if (chosen?.isOnline !== true || !members.includes(chosen)) chosen = members.find((member) => member.isOnline)
    return chosen === undefined ? 0 : members.indexOf(chosen)
  }
}

function leastInflight(_message: Publish, members: readonly Member[]): number {
  let least = 0
  let leastCount = Number.POSITIVE_INFINITY
  for (const [index, member] of members.entries()) {
    const { count } = member.session.window
    if (!member.isOnline || count >= leastCount) continue
    least = index
    leastCount = count
  }
  return least
}

/** FNV-1a over UTF-16 code units, as an unsigned 32-bit number. */
function hash(text: string): number {
  let sum = 0x811c9dc5
  for (let at = 0; at < text.length; at++) sum = Math.imul(sum ^ text.charCodeAt(at), 0x01000193)
  return sum >>> 0
}
