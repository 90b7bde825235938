import fc from 'fast-check'
import t from 'tap'
import type { Decoded } from '../../../src/gateway/lines/adapter.ts'
import { TextLines } from '../../../src/gateway/lines/text-lines.ts'
import { fillTopic, topicVariables } from '../../../src/gateway/lines/topic-template.ts'
import { SeededRandom } from '../../fakes/seeded-random.ts'

const plain = { lineBytesMax: 200, hasKeys: true, checksum: false, downLine: undefined }

/** A word for each unit. */
function read(text: string | Buffer, settings: Partial<typeof plain> & { downLine?: string } = {}): string[] {
  return new TextLines({ ...plain, ...settings }).decode(Buffer.from(text)).map(word)
}

function word(unit: Decoded): string {
  switch (unit.kind) {
    case 'message':
      return `${unit.topic}=${unit.payload}${unit.qos ? ` qos ${unit.qos}` : ''}${unit.retain ? ' retained' : ''}`
    case 'value':
      return `${Object.entries(unit.variables).flat().join(':')}=${unit.payload}`
    case 'subscribe':
      return `subscribe ${unit.topicFilter}`
    case 'log':
      return `log ${unit.text}`
    case 'fault':
      return `fault ${unit.fault}`
  }
}

t.test('golden lines', async (t) => {
  const table: readonly [line: string, ...units: string[]][] = [
    ['[1,"src/x/uptime","123"]', 'src/x/uptime=123'],
    ['[1,"src/x/uptime",123]', 'src/x/uptime=123'],
    ['[1,"a","b",1,1]', 'a=b qos 1 retained'],
    ['[1,"a","b",2,false]', 'a=b qos 2'],
    ['[1,"a",{"x":1}]', 'a={"x":1}'],
    ['[0,"dst/x/#"]', 'subscribe dst/x/#'],
    ['[1,"a"]', 'fault grammar'],
    ['[1,"a","b",3]', 'fault grammar'],
    ['[7,"a","b"]', 'fault grammar'],
    ['[1,"a","b', 'log [1,"a","b'],
    ['[1,"a",b]', 'fault grammar'],
    ['{"temp":20.5,"hum":40}', 'key:temp=20.5', 'key:hum=40'],
    ['{"id":"s7","temp":20.5}', 'name:s7:key:temp=20.5'],
    ['{"id":"s7","pos":{"x":1}}', 'name:s7:key:pos={"x":1}'],
    ['{"topic":"a/b","message":"c","qos":1,"retained":true}', 'a/b=c qos 1 retained'],
    ['{"cmd":"MQTT-PUB","topic":"src/d/s/p","message":"1234.66","qos":0,"retained":false}', 'src/d/s/p=1234.66'],
    ['{"cmd":"MQTT-SUB","topic":"dst/d/#"}', 'subscribe dst/d/#'],
    ['{"topic":"a/b"}', 'fault grammar'],
    ['{"temp":20.5,"hum"40}', 'fault grammar'],
    ['temp:20.5', 'key:temp=20.5'],
    ['T=20.5 H=40', 'key:T=20.5', 'key:H=40'],
    ['MSG:2565, Vrms:232.56, P1:565', 'key:MSG=2565', 'key:Vrms=232.56', 'key:P1=565'],
    ['Temp: 21', 'key:Temp=21'],
    ['Booting: please wait', 'log Booting: please wait'],
    ['ets Jun  8 2016 00:22:57', 'log ets Jun  8 2016 00:22:57'],
    ['', ...[]],
    ['caf\u00e9', 'log caf\u00e9'],
    ['x'.repeat(201), 'fault overlong'],
    ['\u0001\u0002', 'fault garbage'],
  ]
  for (const [line, ...units] of table) {
    t.strictSame(read(`${line}\r\n`), units, line)
    t.strictSame(read(`${line}\n`), units, line)
  }
  t.strictSame(read(Buffer.from([0xff, 0xfe, 0x0a])), ['fault garbage'])
  t.strictSame(read('{"id":"s7","temp":20.5}\nT:1 H:2x\n', { hasKeys: false }), [
    'name:s7={"id":"s7","temp":20.5}',
    '={"T":1,"H":"2x"}',
  ])
})

t.test('a checksum is checked when there is one, and demanded when that is set', async (t) => {
  const lines = new TextLines({ ...plain, checksum: true })
  const line = lines.encode('src/x/y', Buffer.from('3.14'), 1, true)?.toString() ?? ''
  t.match(line, /^\[1,"src\/x\/y","3\.14",1,1,"[0-9A-F]{4}"\]\n$/)
  t.strictSame(read(line), ['src/x/y=3.14 qos 1 retained'])
  t.strictSame(read(line, { checksum: true }), ['src/x/y=3.14 qos 1 retained'])
  t.strictSame(read(line.replace('3.14', '3.15')), ['fault checksum'])
  t.strictSame(read('[1,"a","b"]\nT:1\n', { checksum: true }), ['fault checksum', 'log T:1'])
  // CRC-16/CCITT-FALSE of `[1,"a","b","0000"]`, computed by another program.
  t.strictSame(read('[1,"a","b","212D"]\n'), ['a=b'])
})

t.test('what goes down is a line', async (t) => {
  const down = (downLine: string | undefined, payload: string, retain = false) =>
    new TextLines({ ...plain, downLine }).encode('dst/s1/led', Buffer.from(payload), 0, retain)?.toString()
  t.equal(down(undefined, 'on'), '[1,"dst/s1/led","on"]\n')
  t.equal(down(undefined, 'two\nlines', true), '[1,"dst/s1/led","two\\nlines",0,1]\n')
  t.equal(down('{level}:{payload}', 'on'), 'led:on\n')
  t.equal(down('{level}:{payload}', 'two\nlines'), undefined)
  t.equal(down('{colour} {topic}', 'on'), '{colour} dst/s1/led\n')
})

t.test('a line may come in any pieces, and without an end when it waits', async (t) => {
  const text = '[1,"a","b"]\r\n{"x":1}\nT:2 H:3\nhello\n'
  const whole = read(text)
  fc.assert(
    fc.property(fc.array(fc.nat(text.length), { maxLength: 8 }), (cuts) => {
      const lines = new TextLines(plain)
      const at = [0, ...cuts.sort((a, b) => a - b), text.length]
      const units = at.flatMap((from, index) => lines.decode(Buffer.from(text.slice(from, at[index + 1] ?? from))))
      return JSON.stringify(units.map(word)) === JSON.stringify(whole)
    }),
  )
  const lines = new TextLines(plain)
  t.strictSame(lines.decode(Buffer.from('T:2')), [])
  t.strictSame(lines.idle().map(word), ['key:T=2'])
  t.strictSame(lines.idle(), [])
})

t.test('damaged lines harm nobody: the second clean line behind any damage is understood', async (t) => {
  const good = Buffer.from('[1,"src/x","3.14",1]\n{"a":1}\nT:1, H:2\nplain text\n')
  const clean = '[1,"first","x"]\n[1,"clean","1"]\n'
  const random = new SeededRandom(5)
  for (let turn = 0; turn < 2000; turn++) {
    const bytes = [...good]
    for (let left = 1 + random.below(5); left > 0; left--) {
      const at = random.below(bytes.length)
      const ways = [
        () => bytes.splice(at, 1),
        () => bytes.splice(at, 0, bytes[at] as number),
        () => bytes.splice(at, 1, (bytes[at] as number) ^ (1 << random.below(8))),
        () => bytes.splice(at, 0, ...random.bytes(random.below(300))),
      ]
      ways[random.below(ways.length)]?.()
    }
    const units = read(Buffer.concat([Buffer.from(bytes), Buffer.from(clean)]))
    if (units.at(-1) !== 'clean=1') t.fail(`turn ${turn}: ${units.at(-1)}`)
  }
})

t.test('a megabyte of noise takes linear time and bounded memory', async (t) => {
  const lines = new TextLines({ ...plain, lineBytesMax: 1024 })
  const random = new SeededRandom(6)
  const noise = random.bytes(1_000_000).map((byte) => (byte === 0x0a ? 0x20 : byte))
  const startedAt = performance.now()
  for (let at = 0; at < noise.length; at += 1000) {
    const units = lines.decode(Buffer.from(noise.subarray(at, at + 1000)))
    if (units.length > 0) t.fail(`noise was read as ${units.map(word)}`)
  }
  const ms = performance.now() - startedAt
  t.strictSame(lines.decode(Buffer.from('\n[1,"a","b"]\n')).map(word), ['fault overlong', 'a=b'])
  t.comment(`${Math.round(ms)} ms`)
})

t.test('templates name their places, and a value is one level', async (t) => {
  t.strictSame(topicVariables('dev/{name}/{key}'), ['name', 'key'])
  t.equal(fillTopic('dev/{name}/{key}', { name: 'a/b', key: 'c+#' }), 'dev/a_b/c__')
  t.equal(fillTopic('dev/{name}/{key}', { name: 'a' }), undefined)
  t.equal(fillTopic('dev/{toString}', {}), undefined)
})
