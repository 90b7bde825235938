/** Devices without the link on a port in memory, in front of a whole broker, in virtual time. */
import { generate } from 'mqtt-packet'
import t from 'tap'
import { littleEndian, Type, toFields, toWire } from '../../firmware-sim/link-codec.ts'
import type { LineSettings } from '../../src/gateway/make-head.ts'
import { lineDefaults } from '../../src/gateway/make-head.ts'
import { SerialListener, type SerialPortSettings } from '../../src/gateway/serial-listener.ts'
import type { ListenerTraits } from '../../src/ports/transport.ts'
import { MemorySerial } from '../fakes/memory-serial.ts'
import { RecordingLog } from '../fakes/recording-log.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'
import { serialTraits } from './noisy-worlds.ts'

class Ramp {
  readonly house: TestBroker
  readonly driver: MemorySerial
  readonly listener: SerialListener
  readonly log = new RecordingLog()
  readonly reader: TestClient
  written: Buffer[] = []

  constructor(house: TestBroker, settings: Partial<SerialPortSettings>, traits: Partial<ListenerTraits>) {
    this.house = house
    this.driver = new MemorySerial(house.clock)
    this.driver.onWritten = (bytes) => this.written.push(Buffer.from(bytes))
    this.driver.plug()
    this.listener = new SerialListener(
      { path: '/dev/ttyTest', name: 'port1', baudRate: 115_200, resetOnOpen: false, ...settings },
      { ...serialTraits, ...traits },
      {
        driver: this.driver,
        acceptor: house.broker,
        clock: house.clock,
        random: new SeededRandom(1),
        log: this.log,
        voice: house.broker.voice,
      },
    )
    this.listener.start()
    this.reader = house.connect({ clientId: 'reader' })
    house.passMs(100)
  }

  static async start(settings: Partial<SerialPortSettings>, traits: Partial<ListenerTraits> = {}): Promise<Ramp> {
    return new Ramp(await TestBroker.start(), settings, traits)
  }

  static async lines(lines: Partial<LineSettings> = {}, more: Partial<SerialPortSettings> = {}): Promise<Ramp> {
    return Ramp.start({ protocol: 'lines', lines: { ...lineDefaults, ...lines }, ...more })
  }

  /** From the device. */
  say(bytes: string | Buffer): void {
    this.driver.deliver(Buffer.from(bytes))
    this.house.passMs(100)
  }

  /** Since the last call, as text. */
  heard(): string {
    const text = Buffer.concat(this.written).toString()
    this.written = []
    return text
  }

  read(filter: string): void {
    this.reader.subscribe(filter, { qos: 1 })
    this.house.settle()
  }

  messages(): string[] {
    return this.reader
      .takeAll()
      .flatMap((packet) => ('topic' in packet ? [`${packet.topic}=${packet.payload}${packet.retain ? ' R' : ''}`] : []))
  }

  availability(): string {
    this.reader.subscribe('$edge/serial/+/availability')
    this.house.settle()
    return this.messages().at(-1) ?? ''
  }
}

t.test('lines of a device become messages, each by its own rule', async (t) => {
  const ramp = await Ramp.lines()
  ramp.read('#')
  ramp.say('[1,"src/x/up","12",1]\n{"temp":20.5}\nT:1 H:2\nhello\n{"id":"s9","v":1}\n')
  t.strictSame(ramp.messages(), ['src/x/up=12', 'dev/port1/temp=20.5', 'dev/port1/T=1', 'dev/port1/H=2', 'dev/s9/v=1'])
  t.equal(ramp.listener.status, 'up')
  t.match(ramp.listener.counters, { unitCount: 6, crcErrorCount: 0, openCount: 1 })
})

t.test('what is no message is a line of the log', async (t) => {
  const ramp = await Ramp.lines()
  ramp.read('$edge/serial/port1/log')
  ramp.say('booting\n')
  t.strictSame(ramp.messages(), ['$edge/serial/port1/log=booting'])
})

t.test('messages go down by setting, and by what the device asked for', async (t) => {
  const ramp = await Ramp.lines({ down: ['dst/{name}/#'] })
  ramp.say('ready\n[0,"news/#"]\n[0,"news/#"]\n')
  const sender = ramp.house.connect({ clientId: 'sender' })
  sender.publish('dst/port1/led', 'on')
  sender.publish('news/today', 'rain', { qos: 1 })
  sender.publish('other', 'x')
  ramp.house.passMs(100)
  t.equal(ramp.heard(), '[1,"dst/port1/led","on"]\n[1,"news/today","rain",1]\n')
  t.match(sender.take(4), { packetId: 1 }, 'acknowledged')
})

t.test('a down_line of the settings is what the device gets', async (t) => {
  const ramp = await Ramp.lines({ down: ['dst/{name}/#'], downLine: '{level}:{payload}' })
  ramp.say('ready\n')
  ramp.house.connect({ clientId: 'sender' }).publish('dst/port1/led', 'on')
  ramp.house.passMs(100)
  t.equal(ramp.heard(), 'led:on\n')
})

t.test('QoS 2 of a device is carried through, and more than a window waits', async (t) => {
  const ramp = await Ramp.lines()
  const seen = new Set<string>()
  ramp.read('#')
  ramp.say(Buffer.from(Array.from({ length: 50 }, (_, n) => `[1,"a/${n}","x",${1 + (n % 2)}]\n`).join('')))
  ramp.house.passMs(500)
  for (let turn = 0; turn < 20; turn++) {
    for (const packet of ramp.reader.takeAll()) {
      if ('topic' in packet) {
        seen.add(packet.topic)
        ramp.reader.puback(packet.packetId)
      }
    }
    ramp.house.passMs(100)
  }
  t.equal(seen.size, 50)
})

t.test('a device that falls silent is offline by its will, and online when it talks again', async (t) => {
  const ramp = await Ramp.lines({ willTopic: 'dev/{name}/state' })
  ramp.read('dev/+/state')
  for (let turn = 0; turn < 10; turn++) {
    ramp.say('T:1\n')
    ramp.house.passMs(20_000)
  }
  t.equal(ramp.listener.status, 'up')
  t.strictSame(ramp.messages(), ['dev/port1/state=online'])
  ramp.house.passMs(50_000)
  t.equal(ramp.listener.status, 'up', 'four times the learned interval is not over')
  ramp.house.passMs(20_000)
  t.equal(ramp.listener.status, 'silent')
  t.strictSame(ramp.messages(), ['dev/port1/state=offline'])
  t.equal(ramp.availability(), '$edge/serial/port1/availability=silent R')
  ramp.say('T:1\n')
  t.equal(ramp.availability(), '$edge/serial/port1/availability=online R')
  ramp.driver.unplug()
  ramp.house.passMs(100)
  t.strictSame(ramp.messages(), ['dev/port1/state=offline', '$edge/serial/port1/availability=offline'])
  t.equal(ramp.availability(), '$edge/serial/port1/availability=offline R')
})

t.test('a line without an end counts when the device waits', async (t) => {
  const ramp = await Ramp.lines({ idleFlushMs: 50 })
  ramp.read('#')
  ramp.say('T:1')
  ramp.driver.deliver(Buffer.from('H:'))
  ramp.house.passMs(30)
  ramp.say('2')
  t.strictSame(ramp.messages(), ['dev/port1/T=1', 'dev/port1/H=2'])
})

t.test('a device touches only the topics of its port', async (t) => {
  const ramp = await Ramp.start(
    { protocol: 'lines' },
    { mountpoint: 'hall/', access: { publish: ['hall/dev/#'], subscribe: ['hall/dst/#'] } },
  )
  ramp.read('#')
  ramp.say('T:1\n[1,"other","x",1]\n[0,"dst/+/led"]\n[0,"all/#"]\n')
  t.strictSame(ramp.messages(), ['hall/dev/port1/T=1'])
  t.strictSame(
    ramp.log.fieldsOf('serial device refused by the broker').map((fields) => (fields as { what: string }).what),
    ['publish', 'subscribe'],
  )
  ramp.house.connect({ clientId: 'sender' }).publish('hall/dst/a/led', 'on')
  ramp.house.passMs(100)
  t.equal(ramp.heard(), '[1,"dst/a/led","on"]\n')
})

t.test('a device that sends more than its rate is cut to it', async (t) => {
  const ramp = await Ramp.lines({}, { messageRateMax: 10 })
  ramp.read('#')
  for (let second = 0; second < 10; second++) {
    ramp.driver.deliver(Buffer.from('T:1\n'.repeat(500)))
    ramp.house.passMs(1000)
  }
  const { droppedCount } = ramp.listener.counters
  const count = ramp.messages().length
  t.ok(droppedCount > 0 && count + droppedCount <= 5000, `${count} came, ${droppedCount} were dropped`)
})

const connect = generate({ cmd: 'connect', clientId: 'raw1', protocolVersion: 4, keepalive: 0, clean: true })
const publish = (payload: string) =>
  generate({ cmd: 'publish', topic: 'raw', payload, qos: 0, dup: false, retain: false })

t.test('raw MQTT begins with a CONNECT, whatever comes before it', async (t) => {
  const ramp = await Ramp.start({ protocol: 'raw' })
  ramp.read('raw')
  ramp.say(Buffer.concat([Buffer.from('boot rom 1.0\r\n\x10\x05'), connect.subarray(0, 5)]))
  ramp.say(Buffer.concat([connect.subarray(5), publish('1')]))
  t.equal(ramp.written[0]?.toString('hex'), '20020000', 'CONNACK')
  t.strictSame(ramp.messages(), ['raw=1'])
  t.equal(ramp.listener.status, 'up')
})

t.test('raw MQTT that breaks is cut, and begins anew with the next CONNECT', async (t) => {
  const ramp = await Ramp.start({ protocol: 'raw' })
  ramp.read('raw')
  ramp.say(connect)
  ramp.say(Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]))
  ramp.say(publish('lost'))
  ramp.say(Buffer.concat([connect, publish('2')]))
  t.strictSame(ramp.messages(), ['raw=2'])
  ramp.say(Buffer.concat([connect, publish('3')]))
  t.strictSame(ramp.messages(), ['raw=3'], 'a device that restarted without a word')
})

t.test('raw MQTT is held back while the broker cannot take more', async (t) => {
  const ramp = await Ramp.start({ protocol: 'raw', byteRateMax: 1000 })
  ramp.say(connect)
  ramp.driver.deliver(Buffer.concat(Array.from({ length: 300 }, (_, n) => publish(`${n}`))))
  t.equal(ramp.driver.isPaused, true)
  ramp.house.passMs(4000)
  t.equal(ramp.driver.isPaused, false)
})

t.test('a device that nobody named waits in quarantine', async (t) => {
  const ramp = await Ramp.start({ deviceIds: ['s1'] })
  const hello = (id: string, conversation: number) =>
    toWire({
      type: Type.rst,
      flags: 0,
      seq: 0,
      ack: 0,
      payload: toFields([
        [2, littleEndian(0, 1)],
        [3, littleEndian(7, 4)],
        [4, littleEndian(conversation, 4)],
        [9, Buffer.from(id)],
      ]),
    })
  ramp.say(hello('stranger', 1))
  ramp.say(hello('stranger', 2))
  t.equal(ramp.listener.status, 'quarantined')
  t.equal(ramp.log.fieldsOf('unknown serial device, not let in: see device_ids').length, 1)
  t.equal(ramp.availability(), '$edge/serial/port1/availability=quarantined R')
  t.equal(ramp.house.broker.counters.connectionCount, 1, 'the reader')
  ramp.say(hello('s1', 3))
  t.equal(ramp.listener.status, 'up')
})

t.test('a port that opens and closes without sense is left alone, for longer each time', async (t) => {
  const ramp = await Ramp.start({})
  const openings: number[] = []
  for (let at = 0; at < 3600; at++) {
    const { openCount } = ramp.listener.counters
    ramp.driver.unplug()
    ramp.driver.plug()
    ramp.house.passMs(1000)
    if (ramp.listener.counters.openCount > openCount) openings.push(at)
  }
  t.ok(openings.length < 20, `opened ${openings.length} times in an hour`)
  t.ok(ramp.log.lines.length < 30, `${ramp.log.lines.length} lines`)
  t.match(ramp.log.fieldsOf('serial port opens and closes: left alone')[0], { count: 5, ms: 60_000 })
})

t.test('status tells what there is', async (t) => {
  const ramp = await Ramp.lines()
  ramp.say('T:1\n')
  ramp.house.passMs(60_000)
  ramp.reader.subscribe('$edge/serial/port1/status')
  ramp.house.settle()
  const [message = ''] = ramp.messages()
  const status = JSON.parse(message.slice(message.indexOf('{'), message.lastIndexOf('}') + 1))
  t.match(status, { availability: 'online', path: '/dev/ttyTest', protocol: 'lines', unitCount: 1, openCount: 1 })
})
