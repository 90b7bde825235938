import fc from 'fast-check'
import t from 'tap'
import { Router } from '../../src/broker/router.ts'
import { Session } from '../../src/broker/session.ts'
import { Subscription } from '../../src/broker/subscription.ts'
import type { SubscriptionRecord } from '../../src/ports/store.ts'
import { topicMatches } from '../../src/protocol/topic.ts'

const noneShared = { add() {}, remove() {} }

function session(clientId: string): Session {
  return new Session({
    clientId,
    version: 5,
    epoch: 1,
    expiryIntervalSeconds: 0,
    nextSeq: 1,
    waitingCountMax: 1,
  })
}

function subscription(owner: Session, topicFilter: string, options: Partial<SubscriptionRecord> = {}): Subscription {
  return new Subscription(owner, {
    topicFilter,
    qos: 0,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    subscriptionIdentifier: undefined,
    sinceSeq: 0,
    ...options,
  })
}

const level = fc.constantFrom('a', 'b', '', '$x', 'longer')
const topics = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
const filters = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, isOpen]) => (isOpen ? [...levels, '#'] : levels).join('/'))
  .filter((filter) => filter !== '')

t.test('the router finds what matching every filter by itself finds, through any sequence of changes', async (t) => {
  const step = fc.record({ isAdd: fc.boolean(), owner: fc.nat(3), filter: filters, topic: topics })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const router = new Router(noneShared)
      const owners = ['p', 'q', 'r', 's'].map(session)
      const present = new Map<string, Subscription>()
      for (const { isAdd, owner, filter, topic } of steps) {
        const key = `${owner} ${filter}`
        const former = present.get(key)
        if (isAdd && former === undefined) {
          const added = subscription(owners[owner] as Session, filter)
          present.set(key, added)
          router.add(added)
        } else if (!isAdd && former !== undefined) {
          present.delete(key)
          router.remove(former)
        }
        const expected = new Set(
          [...present.values()]
            .filter((candidate) => topicMatches(candidate.topicFilter, topic))
            .map((candidate) => candidate.session.clientId),
        )
        const found = router.match(topic).map((recipient) => recipient.session.clientId)
        if (found.length !== expected.size || !found.every((id) => expected.has(id))) return false
      }
      return router.subscriptionCount === present.size
    }),
    { numRuns: 300 },
  )
  t.pass('300 sequences')
})

t.test('wildcards do not match topics that begin with $ [MQTT-4.7.2-1]', async (t) => {
  const router = new Router(noneShared)
  const owner = session('c')
  router.add(subscription(owner, '#'))
  router.add(subscription(owner, '+/uptime'))
  t.equal(router.match('$SYS/uptime').length, 0)
  router.add(subscription(owner, '$SYS/#'))
  t.equal(router.match('$SYS/uptime').length, 1)
})

t.test('overlapping subscriptions make one recipient at the highest QoS of them [MQTT-3.3.4-2]', async (t) => {
  const router = new Router(noneShared)
  const owner = session('c')
  router.add(subscription(owner, 'a/b', { qos: 0, noLocal: true }))
  router.add(subscription(owner, 'a/+', { qos: 2, retainAsPublished: true }))
  router.add(subscription(owner, '#', { qos: 1, noLocal: true }))
  const [recipient, ...others] = router.match('a/b')
  t.equal(others.length, 0)
  t.equal(recipient?.qos, 2)
  t.equal(recipient?.noLocal, false, 'one of them wants its own messages')
  t.equal(recipient?.retainAsPublished, true)
})

t.test('the single copy carries every subscription identifier [MQTT-3.3.4-3]', async (t) => {
  const router = new Router(noneShared)
  const owner = session('c')
  router.add(subscription(owner, 'a', { subscriptionIdentifier: 7 }))
  router.add(subscription(owner, '#', { subscriptionIdentifier: 9 }))
  t.same(router.match('a')[0]?.subscriptionIdentifiers, [7, 9])
})

t.test('a change to a literal filter leaves the cached routes of other topics alone', async (t) => {
  const router = new Router(noneShared)
  router.add(subscription(session('c'), 'kept'))
  const before = router.match('kept')
  router.add(subscription(session('d'), 'other'))
  t.equal(router.match('kept'), before, 'the very same route')
  router.add(subscription(session('e'), 'kept'))
  t.equal(router.match('kept').length, 2)
})

t.test('the cache of routes is bounded', async (t) => {
  const router = new Router(noneShared)
  router.add(subscription(session('c'), '#'))
  for (let i = 0; i < 40_000; i++) router.match(`topic/${i}`)
  t.equal(router.match('topic/0').length, 1, 'a topic that fell out is looked up again')
})

t.test('a change to a wildcard filter leaves the cached routes of topics that it cannot match alone', async (t) => {
  const router = new Router(noneShared)
  router.add(subscription(session('c'), 'kept/+'))
  const before = router.match('kept/a')
  for (let i = 0; i < 60; i++) router.add(subscription(session(`d${i}`), `other/${i}/#`))
  t.equal(router.match('kept/a'), before, 'the very same route')
  for (let i = 0; i < 200; i++) router.add(subscription(session(`e${i}`), `more/${i}/+`))
  t.equal(router.match('kept/a').length, 1, 'looked up anew after too many changes')
  router.add(subscription(session('f'), 'kept/#'))
  t.equal(router.match('kept/a').length, 2)
  t.equal(router.match('kept').length, 1)
  router.add(subscription(session('g'), 'kept/a/#'))
  t.equal(router.match('kept/a').length, 3, 'a/# matches a as well')
  router.add(subscription(session('h'), '+/a'))
  t.equal(router.match('kept/a').length, 4)
})

t.test('routes too old to be still right can be dropped, and are found again', async (t) => {
  const router = new Router(noneShared)
  const gone = subscription(session('gone'), 'a/+')
  router.add(gone)
  t.equal(router.match('a/b').length, 1)
  router.dropStaleRoutes()
  t.equal(router.cachedTopicCount, 1, 'it still holds')
  router.remove(gone)
  for (let i = 0; i < 100; i++) router.add(subscription(session(`d${i}`), `other/${i}/#`))
  router.dropStaleRoutes()
  t.equal(router.cachedTopicCount, 0, 'nothing keeps the session')
  t.same(router.match('a/b'), [])
})

t.test('a literal filter is not missed by a route that was cached long ago', async (t) => {
  const router = new Router(noneShared)
  for (let i = 0; i < 12_000; i++) router.match(`topic/${i}`)
  router.add(subscription(session('c'), 'topic/5'))
  t.equal(router.match('topic/5').length, 1)
})
