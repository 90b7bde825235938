/**
 * The linter for what crosses bridges: rules that cannot work, and rules that would send messages round and round.
 *
 * A circle is found by walking it: the topics of an out rule on the remote side, as far as an in rule takes them, on
 * the local side, as far as an out rule takes them, and so on. Where the walk does not run dry, messages do not
 * either. A topic that comes back under its own name is a mirror; that is what `both` asks for, and No Local keeps it
 * quiet. Everything else that goes round is a mistake.
 */
import { overlapOf } from '../protocol/filter-overlap.ts'
import { isValidTopicFilter, isValidTopicName } from '../protocol/topic.ts'
import type { ParsedBridge } from './settings.ts'

export type ParsedRule = ParsedBridge['in'][number]

type Kind = 'out' | 'in' | 'both'

interface Rule extends ParsedRule {
  readonly bridge: ParsedBridge
  readonly kind: Kind
  /** For people: `bridge.0.out.1`. */
  readonly path: string
}

export interface Circle {
  readonly bridgeIndex: number
  /** How both rules read, and why they cannot stand together. */
  readonly text: string
}

/** More hops than any network of bridges needs: what gets so far goes on for ever. */
const hopCountMax = 8

/** Why a rule cannot work, as what it should be; undefined when it can. */
export function ruleFault(rule: ParsedRule, direction: Kind): { key: keyof ParsedRule; expected: string } | undefined {
  const { filter, local_prefix: local, remote_prefix: remote } = rule
  if (filter === '') {
    if (isValidTopicName(local) && isValidTopicName(remote)) return undefined
    return { key: 'filter', expected: 'a topic filter, or "" with a whole topic as local_prefix and as remote_prefix' }
  }
  if (direction !== 'out' && local.startsWith('$')) {
    return { key: 'local_prefix', expected: 'no $ in front, as topics of the broker itself begin with it' }
  }
  if (!isValidTopicFilter(local + filter)) {
    return { key: 'local_prefix', expected: `a prefix that makes "${local}${filter}" a topic filter` }
  }
  if (!isValidTopicFilter(remote + filter)) {
    return { key: 'remote_prefix', expected: `a prefix that makes "${remote}${filter}" a topic filter` }
  }
  return undefined
}

/** Rules that would send messages round, each pair once. Rules that cannot work at all do not come here. */
export function findCircles(bridges: readonly ParsedBridge[]): Circle[] {
  const outs: Rule[] = []
  const ins: Rule[] = []
  for (const [index, bridge] of bridges.entries()) {
    const rulesOf = (kind: Kind) =>
      bridge[kind].map((rule, at): Rule => ({ ...rule, bridge, kind, path: `bridge.${index}.${kind}.${at}` }))
    outs.push(...rulesOf('out'), ...rulesOf('both'))
    ins.push(...rulesOf('in'), ...rulesOf('both'))
  }
  const circles: Circle[] = []
  for (const out of outs) {
    for (const into of ins) {
      if (!isSameBroker(out.bridge, into.bridge)) continue
      const back = comesBack(out, into)
      if (back === undefined || (back === 'mirror' && isMeant(out, into))) continue
      if (back !== 'mirror' && !goesRound(out, into, outs, ins)) continue
      circles.push({ bridgeIndex: bridges.indexOf(into.bridge), text: complaint(out, into, back) })
    }
  }
  return circles
}

/** Mirrors are asked for with `both`, and No Local holds within one connection. */
function isMeant(out: Rule, into: Rule): boolean {
  return out.bridge === into.bridge && into.kind === 'both'
}

/** What `out` sends up and `into` brings down again: under its own name, or another; undefined when nothing is. */
function comesBack(out: Rule, into: Rule): 'mirror' | 'shifted' | undefined {
  const remote = overlapOf(out.remote_prefix + out.filter, into.remote_prefix + into.filter)
  if (remote === undefined) return undefined
  const local = rename(remote, into.remote_prefix, into.local_prefix)
  const origin = rename(remote, out.remote_prefix, out.local_prefix)
  return local !== undefined && local === origin ? 'mirror' : 'shifted'
}

/** Whether some topic that starts with `out` and `into` is still under way after many hops. */
function goesRound(out: Rule, into: Rule, outs: readonly Rule[], ins: readonly Rule[]): boolean {
  let topics = new Set<string>()
  add(
    topics,
    through([out.local_prefix + out.filter], out, 'out').flatMap((up) => through([up], into, 'in')),
  )
  for (let hop = 0; hop < hopCountMax && topics.size > 0; hop++) {
    const next = new Set<string>()
    for (const up of outs) {
      for (const down of ins) {
        if (isSameBroker(up.bridge, down.bridge)) add(next, through(through([...topics], up, 'out'), down, 'in'))
      }
    }
    topics = next
  }
  return topics.size > 0
}

function add(topics: Set<string>, more: readonly string[]): void {
  for (const topic of more) topics.add(topic)
}

/** What of `filters` crosses by `rule`, as it is called on the other side. */
function through(filters: readonly string[], rule: Rule, direction: 'out' | 'in'): string[] {
  const [near, far] =
    direction === 'out' ? [rule.local_prefix, rule.remote_prefix] : [rule.remote_prefix, rule.local_prefix]
  return filters.flatMap((filter) => {
    const common = overlapOf(filter, near + rule.filter)
    const renamed = common === undefined ? undefined : rename(common, near, far)
    return renamed === undefined ? [] : [renamed]
  })
}

/** undefined for the one topic that a `#` of the filter adds to what stands behind the prefix. */
function rename(filter: string, from: string, to: string): string | undefined {
  return filter.startsWith(from) ? to + filter.slice(from.length) : undefined
}

/** The linter knows brokers by their address. */
function isSameBroker(one: ParsedBridge, other: ParsedBridge): boolean {
  if (one === other) return true
  const addresses = new Set(addressesOf(one))
  return addressesOf(other).some((address) => addresses.has(address))
}

function addressesOf(bridge: ParsedBridge): string[] {
  return [bridge.address, ...bridge.fallback_addresses].map(({ host, port }) => `${host}:${port}`)
}

function complaint(out: Rule, into: Rule, back: 'mirror' | 'shifted'): string {
  const cure =
    back === 'mirror' && out.bridge === into.bridge
      ? 'make it one [[bridge.both]] if the same topics are meant to be on both sides, or keep them apart by a prefix'
      : 'keep them apart by their filters or by a prefix'
  const what =
    out === into
      ? `${name(out)} would send round what it sends up`
      : `${name(into)} brings back what ${name(out)} sends up`
  return `${what}, so that messages would go round: ${cure}`
}

function name({ path, filter, local_prefix, remote_prefix }: Rule): string {
  const local = local_prefix === '' ? '' : `, local_prefix "${local_prefix}"`
  const remote = remote_prefix === '' ? '' : `, remote_prefix "${remote_prefix}"`
  return `${path} (filter "${filter}"${local}${remote})`
}
