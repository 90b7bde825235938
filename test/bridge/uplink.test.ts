/** The client end of a bridge against remote brokers of many kinds, each played by the test packet by packet. */
import t from 'tap'
import type { RemoteSide } from '../../src/bridge/handshake.ts'
import { Uplink, type UplinkOwner, type UplinkSettings } from '../../src/bridge/uplink.ts'
import { Backoff } from '../../src/lib/backoff.ts'
import { PacketType, type Subscribe, type SubscriptionRequest } from '../../src/protocol/packet.ts'
import { Publish } from '../../src/protocol/packets/publish.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { TestFilterMemory } from '../fakes/filter-memory.ts'
import { PlayedBroker } from '../fakes/played-broker.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { silentLog } from '../fakes/test-broker.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

const request = (topicFilter: string, qos: 0 | 1 | 2 = 1): SubscriptionRequest => ({
  topicFilter,
  qos,
  noLocal: true,
  retainAsPublished: true,
  retainHandling: 1,
})

class Owner implements UplinkOwner {
  readonly online: RemoteSide[] = []
  offlineCount = 0
  readonly calls: string[] = []
  greet() {
    return { will: undefined, userProperties: [] }
  }
  onOnline(remote: RemoteSide) {
    this.online.push(remote)
  }
  onOffline() {
    this.offlineCount++
  }
  onMessage(message: Publish) {
    this.calls.push(`message ${message.topic} ${message.qos} ${message.packetId}`)
  }
  onPubrel(packetId: number) {
    this.calls.push(`pubrel ${packetId}`)
  }
  onPubrec(packetId: number) {
    this.calls.push(`pubrec ${packetId}`)
  }
  onPuback(packetId: number, reasonCode: ReasonCode) {
    this.calls.push(`puback ${packetId} ${reasonCode}`)
  }
  onDrain() {
    this.calls.push('drain')
  }
}

function stage(options: { settings?: Partial<UplinkSettings>; addresses?: number; memory?: TestFilterMemory } = {}) {
  const clock = new VirtualClock()
  const random = new SeededRandom(3)
  const owner = new Owner()
  const remotes = Array.from(
    { length: options.addresses ?? 1 },
    (_, index) => new PlayedBroker(`tcp://h${index}:1`, clock),
  )
  const memory = options.memory ?? new TestFilterMemory()
  const uplink = new Uplink({
    settings: {
      clientId: 'gw',
      username: undefined,
      password: undefined,
      protocol: 'auto',
      keepAliveSeconds: 60,
      sessionExpirySeconds: 3600,
      inflightMax: 16,
      packetBytesMax: 65_536,
      outputBytesMax: 65_536,
      connectTimeoutMs: 5000,
      ackTimeoutMs: 10_000,
      returnMs: 60_000,
      isOnce: false,
      subscriptions: [],
      peerSubscriptions: [],
      ...options.settings,
    },
    dialers: remotes,
    memory,
    clock,
    backoff: new Backoff(1000, 10_000, () => random.next()),
    log: silentLog,
    owner,
  })
  const [remote, second] = remotes as [PlayedBroker, PlayedBroker]
  const settle = () => clock.advanceMs(2)
  /** Time passes until there is a new link. */
  const redial = () => {
    const linkCount = remote.links.length
    while (remote.links.length === linkCount) clock.advanceMs(100)
    settle()
  }
  return { clock, owner, remote, second, uplink, memory, settle, redial }
}

t.test('an in rule asks with No Local, Retain As Published and once for retained messages', async (t) => {
  const { uplink, remote, owner, settle } = stage({ settings: { subscriptions: [request('cmd/#')] } })
  uplink.start()
  settle()
  remote.connack()
  settle()
  const subscribe = remote.take(PacketType.subscribe) as Subscribe
  t.match(subscribe.subscriptions, [request('cmd/#')])
  t.same(owner.online, [], 'not before the answer')
  remote.send({ type: PacketType.suback, packetId: subscribe.packetId, reasonCodes: [1], properties: undefined })
  t.equal(owner.online.length, 1)
})

t.test(
  'a broker that refuses 5.0 is spoken to in 3.1.1, first with the bit of a bridge and then without',
  async (t) => {
    const { uplink, remote, owner, settle, clock } = stage()
    uplink.start()
    settle()
    t.match(remote.take(PacketType.connect), { version: 5, isBridge: false })
    // What 3.1.1 brokers answer: not even a valid packet of 5.0.
    remote.link.deliver(Buffer.from([0x20, 2, 0, 1]))
    clock.advanceMs(1)
    settle()
    remote.version = 4
    t.match(remote.take(PacketType.connect), { version: 4, isBridge: true })
    remote.send({
      type: PacketType.connack,
      sessionPresent: false,
      reasonCode: ReasonCode.unsupportedProtocolVersion,
      properties: undefined,
    })
    clock.advanceMs(1)
    settle()
    t.match(remote.connack(), { version: 4, isBridge: false })
    t.match(owner.online, [{ version: 4, echoes: true, isPeer: false }])
  },
)

t.test('a cut before CONNACK is no refusal: a broker that once spoke 5.0 is never spoken to in less', async (t) => {
  const { uplink, remote, settle, redial } = stage()
  uplink.start()
  settle()
  remote.connack()
  for (let cuts = 0; cuts < 10; cuts++) {
    remote.link.close()
    redial()
    t.match(remote.take(PacketType.connect), { version: 5 }, `cut ${cuts}`)
  }
})

t.test('a broker that hangs up on 5.0 without a word is spoken to in 3.1.1 after a while', async (t) => {
  const { uplink, remote, settle, redial } = stage()
  uplink.start()
  settle()
  for (let cuts = 0; cuts < 3; cuts++) {
    t.match(remote.take(PacketType.connect), { version: 5 })
    remote.link.close()
    redial()
  }
  remote.version = 4
  t.match(remote.take(PacketType.connect), { version: 4 })
})

t.test('a version that is set is the only one', async (t) => {
  const { uplink, remote, settle, redial } = stage({ settings: { protocol: '5' } })
  uplink.start()
  settle()
  remote.take(PacketType.connect)
  remote.link.deliver(Buffer.from([0x20, 2, 0, 1]))
  redial()
  t.match(remote.take(PacketType.connect), { version: 5 })
})

t.test('QoS 2 goes out with its whole handshake', async (t) => {
  const { uplink, remote, owner, settle } = stage()
  uplink.start()
  settle()
  remote.connack()
  const message = Publish.create({ topic: 't', payload: 'p', qos: 2 })
  t.ok(uplink.publish(message, 2, false, false, 7, undefined))
  settle()
  t.match(remote.take(PacketType.publish), { qos: 2, packetId: 7 })
  remote.send({ type: PacketType.pubrec, packetId: 7, reasonCode: 0, properties: undefined })
  t.same(owner.calls, ['pubrec 7'])
  uplink.release(7)
  settle()
  t.match(remote.take(PacketType.pubrel), { packetId: 7 })
  remote.send({ type: PacketType.pubcomp, packetId: 7, reasonCode: 0, properties: undefined })
  t.same(owner.calls, ['pubrec 7', 'puback 7 0'])
})

t.test('QoS 2 comes in with its whole handshake', async (t) => {
  const { uplink, remote, owner, settle } = stage()
  uplink.start()
  settle()
  remote.connack()
  remote.publish('t', 2, 9)
  uplink.acknowledge(9, PacketType.pubrec)
  remote.send({ type: PacketType.pubrel, packetId: 9, reasonCode: 0, properties: undefined })
  uplink.acknowledge(9, PacketType.pubcomp)
  settle()
  t.same(owner.calls, ['message t 2 9', 'pubrel 9'])
  t.match(remote.take(PacketType.pubrec), { packetId: 9 })
  t.match(remote.take(PacketType.pubcomp), { packetId: 9 })
})

t.test('what the remote broker says it does not take is not sent to it [MQTT-3.2.2-11] [MQTT-3.2.2-14]', async (t) => {
  const { uplink, remote, owner, settle } = stage()
  uplink.start()
  settle()
  remote.connack({ properties: { maximumQos: 0, retainAvailable: 0 } })
  uplink.publish(Publish.create({ topic: 't', payload: 'p', qos: 2, retain: true }), 2, true, true, 7, undefined)
  settle()
  t.match(remote.take(PacketType.publish), { qos: 0, retain: false, dup: false })
  t.same(owner.calls, ['puback 7 0'])
})

t.test('the keep-alive is what the remote broker says [MQTT-3.2.2-21]', async (t) => {
  const { uplink, remote, settle, clock } = stage()
  uplink.start()
  settle()
  remote.connack({ properties: { serverKeepAlive: 5 } })
  clock.advanceMs(5400)
  settle()
  t.ok(remote.take(PacketType.pingreq))
})

t.test('Tasmota#24985: a pong that comes late, as TCP recovers, does not cost the connection', async (t) => {
  const { uplink, remote, owner, settle, clock } = stage()
  uplink.start()
  settle()
  remote.connack({ properties: { serverKeepAlive: 20 } })
  const untilPing = () => {
    while (remote.take(PacketType.pingreq) === undefined) clock.advanceMs(100)
  }
  untilPing()
  clock.advanceMs(8000)
  remote.send({ type: PacketType.pingresp })
  t.equal(owner.offlineCount, 0, 'after eight seconds')
  untilPing()
  clock.advanceMs(5000)
  uplink.publish(Publish.create({ topic: 't', payload: 'p', qos: 1 }), 1, false, false, 7, undefined)
  clock.advanceMs(1500)
  t.equal(owner.offlineCount, 0, 'a message has its own time')
  clock.advanceMs(1500)
  t.equal(owner.offlineCount, 1, 'which is short: it waits for an answer')
})

t.test('an idle link on which no pong comes is dead after the time of the settings', async (t) => {
  const { uplink, remote, owner, settle, clock } = stage()
  uplink.start()
  settle()
  remote.connack({ properties: { serverKeepAlive: 20 } })
  clock.advanceMs(29_000)
  t.equal(owner.offlineCount, 0)
  clock.advanceMs(2000)
  t.equal(owner.offlineCount, 1)
})

t.test('mosquitto#3002: no more is open than the Receive Maximum of CONNACK, 1 and 10', async (t) => {
  for (const receiveMaximum of [1, 10]) {
    const { uplink, remote, owner, settle } = stage()
    uplink.start()
    settle()
    remote.connack({ properties: { receiveMaximum } })
    t.equal(owner.online[0]?.inflightMax, receiveMaximum)
  }
})

t.test('nanomq#1918: started without a network it comes up when there is one, an hour later', async (t) => {
  const { uplink, remote, owner, redial, clock } = stage()
  remote.isReachable = false
  uplink.start()
  for (let minutes = 0; minutes < 60; minutes++) clock.advanceMs(60_000)
  t.equal(remote.links.length, 0)
  remote.isReachable = true
  redial()
  remote.connack()
  t.equal(owner.online.length, 1)
})

t.test('blitzortung#302: a link that opens and is refused does not make the pauses short again', async (t) => {
  const { uplink, remote, settle, clock } = stage()
  uplink.start()
  settle()
  let attempts = 0
  for (let seconds = 0; seconds < 120; seconds++) {
    clock.advanceMs(1000)
    settle()
    if (remote.links.length === attempts) continue
    attempts = remote.links.length
    remote.connack({ reasonCode: ReasonCode.connectionRateExceeded })
  }
  t.ok(attempts <= 25, `${attempts} attempts in two minutes, with pauses of up to ten seconds`)
})

t.test('the preferred address is tried first, the others at once behind it', async (t) => {
  const { uplink, remote, second, owner, settle, clock } = stage({ addresses: 2 })
  remote.isReachable = false
  uplink.start()
  clock.advanceMs(1)
  settle()
  second.connack()
  t.equal(owner.online.length, 1, 'no pause between addresses')
  t.equal(uplink.address, 'tcp://h1:1')
})

t.test('while another address serves, the bridge goes back when the preferred one answers', async (t) => {
  const { uplink, remote, second, owner, settle, clock } = stage({ addresses: 2 })
  remote.isReachable = false
  uplink.start()
  clock.advanceMs(1)
  settle()
  second.connack({ properties: { serverKeepAlive: 0 } })
  clock.advanceMs(61_000)
  settle()
  t.equal(uplink.address, 'tcp://h1:1', 'still there')
  remote.isReachable = true
  clock.advanceMs(60_000)
  settle()
  t.equal(owner.offlineCount, 1)
  t.ok(second.take(PacketType.disconnect), 'it says goodbye')
  second.link.close()
  remote.connack()
  settle()
  t.equal(owner.online.length, 2)
  t.equal(uplink.state, 'online', 'the end of the old link is nobody’s')
  t.equal(uplink.address, 'tcp://h0:1')
})

t.test('a bridge that is to connect once does not connect again', async (t) => {
  const { uplink, remote, owner, settle, clock } = stage({ settings: { isOnce: true } })
  uplink.start()
  settle()
  remote.connack()
  remote.link.close()
  t.equal(owner.offlineCount, 1)
  clock.advanceMs(600_000)
  t.equal(remote.links.length, 1)
  t.equal(uplink.state, 'stopped')
})

t.test('nanomq PR#1687: after a reset subscriptions are asked for again unless the session is there', async (t) => {
  const { uplink, remote, settle, redial } = stage({ settings: { subscriptions: [request('a'), request('b')] } })
  uplink.start()
  settle()
  remote.connack()
  settle()
  t.same(remote.suback(), ['a', 'b'])
  for (const [sessionPresent, asked] of [
    [true, []],
    [false, ['a', 'b']],
  ] as const) {
    remote.link.close()
    redial()
    remote.connack({ sessionPresent })
    settle()
    t.same(remote.suback(), asked, `session present: ${sessionPresent}`)
  }
})

t.test('what was asked for and not answered is asked for again', async (t) => {
  const { uplink, remote, settle, redial } = stage({ settings: { subscriptions: [request('a')] } })
  uplink.start()
  settle()
  remote.connack()
  settle()
  remote.link.close()
  redial()
  remote.connack({ sessionPresent: true })
  settle()
  t.same(remote.suback(), ['a'])
})

t.test('there is room again after a full write that the link took at once, but not behind a goodbye', async (t) => {
  const { uplink, remote, owner, settle } = stage({ settings: { outputBytesMax: 1000 } })
  uplink.start()
  settle()
  remote.connack()
  settle()
  const fill = () => {
    const message = Publish.create({ topic: 'a', payload: 'x'.repeat(100) })
    while (uplink.canTake) uplink.publish(message, 0, false, false, 0, undefined)
  }
  fill()
  t.same(owner.calls, [])
  settle()
  t.same(owner.calls, ['drain'])
  t.ok(uplink.canTake)
  fill()
  uplink.stop()
  settle()
  t.same(owner.calls, ['drain'])
})

t.test('what the remote broker has no room for at the moment is asked for again later', async (t) => {
  const { uplink, remote, owner, settle, clock } = stage({ settings: { subscriptions: [request('a'), request('b')] } })
  uplink.start()
  settle()
  remote.connack()
  settle()
  const { packetId } = remote.take(PacketType.subscribe) as Subscribe
  remote.send({
    type: PacketType.suback,
    packetId,
    reasonCodes: [1, ReasonCode.quotaExceeded],
    properties: undefined,
  })
  settle()
  t.equal(owner.online.length, 1, 'everything else passes')
  for (let second = 0; second < 61; second++) {
    clock.advanceMs(1000)
    if (remote.take(PacketType.pingreq) !== undefined) remote.send({ type: PacketType.pingresp })
  }
  t.same(remote.suback(), ['b'])
})

t.test('new rules ask only for what differs', async (t) => {
  const { uplink, remote, owner, settle } = stage({ settings: { subscriptions: [request('a'), request('b')] } })
  uplink.start()
  settle()
  remote.connack()
  settle()
  remote.suback()
  uplink.subscribe([request('b'), request('c'), request('d', 0)])
  settle()
  t.same(remote.unsuback(), ['a'])
  t.same(remote.suback(), ['c', 'd'])
  uplink.subscribe([request('b'), request('c', 0), request('d', 0)])
  settle()
  t.same(remote.suback(), ['c'])
  t.same(remote.unsuback(), [])
  t.equal(owner.offlineCount, 0)
})

t.test('what the remote broker cannot give up at the moment is given back again later', async (t) => {
  const { uplink, remote, settle, clock, memory } = stage({ settings: { subscriptions: [request('a')] } })
  uplink.start()
  settle()
  remote.connack()
  settle()
  remote.suback()
  uplink.subscribe([])
  settle()
  t.same(remote.unsuback(ReasonCode.implementationSpecificError), ['a'])
  t.same([...memory.filters.keys()], ['a'], 'it is known to be there also after a restart')
  for (let second = 0; second < 61; second++) {
    clock.advanceMs(1000)
    if (remote.take(PacketType.pingreq) !== undefined) remote.send({ type: PacketType.pingresp })
  }
  t.same(remote.unsuback(), ['a'])
  t.same([...memory.filters.keys()], [])
})

t.test('what an earlier run subscribed to and nobody wants any more is given back', async (t) => {
  const memory = new TestFilterMemory()
  const former = stage({ memory, settings: { subscriptions: [request('old'), request('kept')] } })
  former.uplink.start()
  former.settle()
  former.remote.connack()
  former.settle()
  former.remote.suback()
  const { uplink, remote, owner, settle } = stage({ memory, settings: { subscriptions: [request('kept')] } })
  uplink.start()
  settle()
  remote.connack({ sessionPresent: true })
  settle()
  t.same(remote.suback(), [])
  t.same(remote.unsuback(), ['old'])
  t.equal(owner.online.length, 1)
  t.same([...memory.filters.keys()], ['kept'])
})
