import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { humanLine } from '../../src/adapters/log-pino/human-line.ts'
import { createLog, type LogLevel } from '../../src/adapters/log-pino/log.ts'
import { redactedPaths } from '../../src/adapters/log-pino/redact.ts'
import { Failure } from '../../src/lib/errors.ts'

function open(t: Test, level: LogLevel = 'info', isForPeople = false) {
  const path = join(t.testdir({}), 'log')
  const fd = openSync(path, 'a')
  t.teardown(() => closeSync(fd))
  const text = () => readFileSync(path, 'utf8')
  return {
    log: createLog(level, { fd, isForPeople }),
    text,
    lines: () =>
      text()
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
  }
}

t.test('a line is JSON with level, time, fields and message, and is written at once', async (t) => {
  const { log, lines } = open(t)
  log.info({ name: 'tcp' }, 'listener open')
  log.child({ part: 'session' }).warn({ clientId: 'c1' }, 'client slow')
  log.debug({}, 'not at this level')
  t.match(lines(), [
    { level: 'info', time: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, name: 'tcp', msg: 'listener open' },
    { level: 'warn', part: 'session', clientId: 'c1', msg: 'client slow' },
  ])
  t.equal(lines().length, 2)
  t.strictSame(Object.keys(lines()[0]), ['level', 'time', 'name', 'msg'])
})

t.test('secrets and payloads are never written, however deep they stand', async (t) => {
  const { log, text } = open(t)
  const fields = redactedPaths.filter((path) => !path.includes('*'))
  t.ok(['password', 'token', 'privateKey', 'payload'].every((field) => fields.includes(field)))
  for (const field of fields) {
    const secret = { [field]: 'hunter2' }
    log.info(secret, 'flat')
    log.info({ connect: secret, list: [secret] }, 'one deep')
    log.info({ outer: { connect: secret } }, 'two deep')
    log.child(secret).info({}, 'child')
  }
  t.notMatch(text(), /hunter2/)
  t.equal(text().match(/\[redacted\]/g)?.length, fields.length * 5)
})

t.test('a failure is written with its code and cause, a bug with its stack', async (t) => {
  const { log, lines } = open(t)
  log.error({ err: new Failure('ERR_STORE_FULL', '/data', new Error('ENOSPC')) }, 'store failed')
  log.error({ err: new TypeError('oops') }, 'bug')
  const [failure, bug] = lines()
  t.strictSame(failure.err, { code: 'ERR_STORE_FULL', message: 'the disk is full: /data', cause: 'ENOSPC' })
  t.match(bug.err, { type: 'TypeError', message: 'oops', stack: /log-pino\.test/ })
})

t.test('a person reads one line with the message first', async (t) => {
  const { log, text } = open(t, 'debug', true)
  log.info({ name: 'tcp 127.0.0.1:1883', port: 1883 }, 'listener open')
  log.debug({}, 'started')
  log.error({ err: new Failure('ERR_DIAL', 'tls://x:1') }, 'bridge down')
  const lines = text().split('\n')
  t.match(lines[0], /^\d\d:\d\d:\d\d\.\d{3} info {2}listener open {2}name="tcp 127\.0\.0\.1:1883" port=1883$/)
  t.match(lines[1], /^\d\d:\d\d:\d\d\.\d{3} debug started$/)
  t.match(lines[2], / error bridge down {2}err="the remote broker cannot be reached: tls:\/\/x:1"$/)
  t.equal(lines.length, 4)
})

t.test('the clock of a person is the clock on the wall', async (t) => {
  const time = '2026-03-01T12:00:01.123Z'
  const expected = new Date(time).toTimeString().slice(0, 8)
  t.equal(humanLine(JSON.stringify({ level: 'info', time, msg: 'x' })), `${expected}.123 info  x\n`)
})

t.test('a bug shows its stack below the line', async (t) => {
  const { log, text } = open(t, 'info', true)
  log.error({ err: new TypeError('oops') }, 'bug')
  t.match(text(), /bug {2}err=oops\n {4}TypeError: oops\n {4} +at /)
})

t.test('what a peer chose cannot move the cursor or fake a line', async (t) => {
  const { log, text } = open(t, 'info', true)
  log.info({ clientId: 'a\u001b[2J\u009b\u2028b\nERROR', topic: 'grün/1', nested: { x: 'ü' }, empty: '' }, 'seen')
  t.match(text(), 'clientId="a\\u001b[2J\\u{9b}\\u{2028}b\\nERROR" topic=grün/1 nested={"x":"ü"} empty=""\n')
  t.equal(text().split('\n').length, 2)
})

t.test('a full disk stops nothing', async (t) => {
  const fd = openSync('/dev/full', 'w')
  t.teardown(() => closeSync(fd))
  const log = createLog('info', { fd, isForPeople: false })
  t.doesNotThrow(() => {
    for (let i = 0; i < 3; i++) log.info({}, 'lost')
    log.flush()
  })
})

t.test('a reader that is stuck stops nothing and is told later what is missing', async (t) => {
  const path = join(t.testdir({}), 'pipe')
  execFileSync('mkfifo', [path])
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  t.teardown(() => closeSync(fd))
  const buffer = Buffer.alloc(1_000_000)
  const read = () => buffer.toString('utf8', 0, readSync(fd, buffer))

  const log = createLog('info', { fd, isForPeople: false })
  for (let i = 0; i < 2000; i++) log.info({ i }, 'more than a pipe holds')
  const early = read()
  log.info({}, 'after')
  const lines = (early + read())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

  const [notice, after] = lines.splice(-2)
  t.equal(notice.msg, 'log lines lost')
  t.equal(after.msg, 'after')
  t.equal(lines.length + notice.count, 2000)
  t.ok(lines.every((line, index) => line.i === index))
})
