/** What may cross a bridge: the table of mosquitto, and rules that would send messages round. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadSettings } from '../../src/config/load.ts'

/** What is wrong with `lines`, which stand in a [[bridge]]; empty when nothing is. */
function complaints(t: Test, lines: string, more = ''): string[] {
  const path = join(t.testdir({}), 'x.toml')
  writeFileSync(path, `[[bridge]]\nname = "b"\naddress = "tcp://h:1"\n${lines}\n${more}`)
  const loaded = loadSettings('edge', path, {})
  return loaded.ok ? [] : loaded.error.map(({ message }) => message)
}

const rule = (filter: string, local = '', remote = '') =>
  `{ filter = "${filter}", local_prefix = "${local}", remote_prefix = "${remote}" }`
const out = (...rules: string[]) => `out = [${rules.join(', ')}]`
const into = (...rules: string[]) => `in = [${rules.join(', ')}]`
const both = (...rules: string[]) => `both = [${rules.join(', ')}]`

t.test('the valid rows of the table of mosquitto are valid, and its invalid row is not', async (t) => {
  for (const [filter, local, remote] of [
    ['pattern', 'L/', 'R/'],
    ['pattern', 'L/', ''],
    ['pattern', '', 'R/'],
    ['pattern', '', ''],
    ['', 'local', 'remote'],
  ] as const) {
    for (const list of [out, into]) {
      const lines = `${list(rule(filter, local, remote))}${list === out ? '' : '\nout = []'}`
      t.same(complaints(t, lines), [], lines)
    }
    t.same(complaints(t, `out = []\n${both(rule(filter, local, remote))}`), [], `both ${filter}`)
  }
  for (const [local, remote] of [
    ['', ''],
    ['local', ''],
    ['', 'remote'],
  ] as const) {
    t.match(complaints(t, out(rule('', local, remote))), [
      /bridge\.0\.out\.0\.filter = "": expected a topic filter, or ""/,
    ])
  }
})

t.test('a prefix and a filter must make a topic filter together', async (t) => {
  t.match(complaints(t, out(rule('#', 'plant'))), [/out\.0\.local_prefix = "plant": expected .*"plant#"/])
  t.match(complaints(t, out(rule('+/a', '', 'x'))), [/out\.0\.remote_prefix = "x"/])
  t.same(complaints(t, out(rule('-temp', 'room1', 'house/room1'))), [], 'no slash is needed')
  t.same(complaints(t, out(rule('shadow/update', '', '$aws/things/gw/'))), [], 'topics of the remote broker itself')
  t.match(complaints(t, `out = []\n${into(rule('a', '$SYS/'))}`), [/in\.0\.local_prefix = "\$SYS\/"/])
})

t.test('rules that would send messages round are refused, and both are named', async (t) => {
  const [text, ...others] = complaints(t, `${out(rule('#'))}\n${into(rule('cmd/#'))}`)
  t.same(others, [])
  t.match(text, /bridge\.0\.in\.0 \(filter "cmd\/#"\) brings back what bridge\.0\.out\.0 \(filter "#"\) sends up/)
  t.match(text, /make it one \[\[bridge\.both\]\]/)
  for (const lines of [
    `${out(rule('a/+'))}\n${into(rule('+/b'))}`,
    `${out(rule('#', '', 'x/'))}\n${into(rule('x/#'))}`,
    `${out(rule('#'))}\n${into(rule('#', 'down/'))}`,
    `${out(rule('a/#'), rule('b/#'))}\n${into(rule('b', 'a/', 'a/'))}`,
  ]) {
    t.match(complaints(t, lines), [/messages would go round/], lines)
  }
})

t.test('rules that only look like a circle are fine', async (t) => {
  for (const lines of [
    `${out(rule('up/#'))}\n${into(rule('down/#'))}`,
    `${out(rule('#', '', 'gw/'))}\n${into(rule('cmd/#'))}`,
    `${out(rule('#', 'up/'))}\n${into(rule('#', 'down/'))}`,
    `${out(rule('#'))}\n${into(rule('cmd/#', 'down/'))}`,
  ]) {
    t.same(complaints(t, lines), [], lines)
  }
})

t.test('what is meant to be on both sides may be there, and may lie within a wider out rule', async (t) => {
  t.same(complaints(t, `out = []\n${both(rule('#'))}`), [])
  t.same(complaints(t, `${out(rule('#'))}\n${both(rule('cmd/#'))}`), [])
  t.match(complaints(t, `out = []\n${both(rule('#', '', 'x/'), rule('#', 'y/', 'x/'))}`), [/messages would go round/])
})

t.test('two bridges to one broker are one way round', async (t) => {
  const second = (address: string) => `[[bridge]]\nname = "c"\naddress = "${address}"\nout = []\n${into(rule('a/#'))}`
  t.match(complaints(t, out(rule('#')), second('tcp://h:1')), [/bridge\.1\.in\.0 .* bridge\.0\.out\.0/])
  t.same(complaints(t, out(rule('#')), second('tcp://other:1')), [])
})
