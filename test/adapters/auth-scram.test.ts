import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { formatCredentials, makeCredentials, parseCredentials } from '../../src/adapters/auth-scram/credentials.ts'
import { prepared } from '../../src/adapters/auth-scram/saslprep.ts'
import { ScramSha256 } from '../../src/adapters/auth-scram/scram.ts'
import { changeUser, isUserName, readUsers } from '../../src/adapters/auth-scram/users-file.ts'
import { Failure } from '../../src/lib/errors.ts'
import type { AuthenticationExchange, AuthenticationStep } from '../../src/ports/auth.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { ScramClient } from '../fixtures/scram-client.ts'
import { runCommand } from '../fixtures/tidegate-command.ts'

const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64')

function usersFile(t: Test): string {
  const path = join(t.testdir({}), 'users.scram')
  changeUser(path, 'user', makeCredentials('pencil', salt, 4096))
  return path
}

function step(exchange: AuthenticationExchange, data: Buffer | undefined): AuthenticationStep {
  let outcome: AuthenticationStep | undefined
  exchange.step(data, (answered) => {
    outcome = answered
  })
  if (outcome === undefined) throw new Error('no answer')
  return outcome
}

/** Both steps of one exchange. */
function exchanged(scram: ScramSha256, client: ScramClient): AuthenticationStep {
  const exchange = scram.begin()
  const question = step(exchange, client.first)
  if (question.kind !== 'challenge' || question.data === undefined) return question
  return step(exchange, client.final(question.data))
}

t.test('the example of RFC 7677 comes out as it is printed there', async (t) => {
  const path = usersFile(t)
  const random = { next: () => 0, hex: () => '' }
  const exchange = new ScramSha256(path, random).begin()
  // Its nonce of the server is no hexadecimal number, so the client brings all of it.
  const nonce = 'rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0'
  const question = step(exchange, Buffer.from('n,,n=user,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0'))
  t.match(question, { kind: 'challenge', data: Buffer.from(`r=${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`) })
  const credentials = makeCredentials('pencil', salt, 4096)
  t.equal(
    formatCredentials(credentials),
    'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=',
    'the stored keys of that password, salt and count',
  )
})

t.test('who knows the password is let in, and learns that the broker knows it too', async (t) => {
  const scram = new ScramSha256(usersFile(t), new SeededRandom(1))
  const client = new ScramClient('user', 'pencil')
  const outcome = exchanged(scram, client)
  t.match(outcome, { kind: 'proved', username: 'user' })
  t.equal(outcome.kind === 'proved' && outcome.data?.toString(), client.signature)
})

t.test('every exchange has a nonce of its own', async (t) => {
  const scram = new ScramSha256(usersFile(t), new SeededRandom(1))
  const client = new ScramClient('user', 'pencil')
  const asked = () => {
    const question = step(scram.begin(), client.first)
    return question.kind === 'challenge' ? question.data : undefined
  }
  const first = asked()
  t.ok(first)
  t.notSame(asked(), first)
  const replayed = scram.begin()
  step(replayed, client.first)
  t.equal(step(replayed, client.final(first ?? Buffer.alloc(0))).kind, 'refused', 'an old answer is of no use')
})

t.test('a wrong password and an unknown user are told apart by nothing', async (t) => {
  const scram = new ScramSha256(usersFile(t), new SeededRandom(1))
  const wrong = exchanged(scram, new ScramClient('user', 'pen'))
  const nobody = exchanged(scram, new ScramClient('nobody', 'pencil'))
  t.same(wrong, nobody)
  t.equal(wrong.kind, 'refused')
  const salts = [1, 2].map(() => {
    const question = step(scram.begin(), new ScramClient('nobody', 'x').first)
    return question.kind === 'challenge' ? /s=([^,]+)/.exec(question.data?.toString() ?? '')?.[1] : undefined
  })
  t.ok(salts[0])
  t.equal(salts[0], salts[1], 'nobody has the same salt each time, as a user has')
})

t.test('what is no SCRAM, wants channel binding or speaks for others is refused', async (t) => {
  const scram = new ScramSha256(usersFile(t), new SeededRandom(1))
  for (const first of [
    'hello',
    'p=tls-unique,,n=user,r=abc',
    'n,a=admin,n=user,r=abc',
    'n,,n=user',
    'n,,n=us=er,r=abc',
    'n,,m=x,n=user,r=abc',
    'n,,n=user,r=\u0000',
  ]) {
    t.equal(step(scram.begin(), Buffer.from(first)).kind, 'refused', first)
  }
  const ask = (finish: (serverFirst: string) => string) => {
    const exchange = scram.begin()
    const question = step(exchange, Buffer.from('n,,n=user,r=abc'))
    const serverFirst = question.kind === 'challenge' ? (question.data?.toString() ?? '') : ''
    return step(exchange, Buffer.from(finish(serverFirst)))
  }
  const nonceOf = (serverFirst: string) => /r=([^,]+)/.exec(serverFirst)?.[1] ?? ''
  t.equal(ask(() => '').kind, 'refused', 'nothing')
  t.equal(ask((question) => `c=eSws,r=${nonceOf(question)},p=AAAA`).kind, 'refused', 'another header')
  t.equal(ask(() => 'c=biws,r=abc,p=AAAA').kind, 'refused', 'the nonce of the client alone')
  t.equal(ask((question) => `c=biws,r=${nonceOf(question)},p=AAAA`).kind, 'refused', 'a short proof')
})

t.test('a client that waits to be asked is asked', async (t) => {
  const scram = new ScramSha256(usersFile(t), new SeededRandom(1))
  const exchange = scram.begin()
  t.same(step(exchange, undefined), { kind: 'challenge', data: undefined })
  t.equal(step(exchange, new ScramClient('user', 'pencil').first).kind, 'challenge')
})

t.test('names with a comma, an equals sign or another form of a letter are found', async (t) => {
  const path = usersFile(t)
  changeUser(path, 'a,b=c', makeCredentials('x', salt, 4096))
  changeUser(path, 'caf\u00e9', makeCredentials('x', salt, 4096))
  const scram = new ScramSha256(path, new SeededRandom(1))
  t.match(exchanged(scram, new ScramClient('a=2Cb=3Dc', 'x')), { kind: 'proved', username: 'a,b=c' })
  t.match(exchanged(scram, new ScramClient('cafe\u0301', 'x')), { kind: 'proved', username: 'caf\u00e9' })
})

t.test('names and passwords are prepared by SASLprep', async (t) => {
  const examples: [text: string, outcome: string | undefined][] = [
    ['I\u00adX', 'IX'],
    ['user', 'user'],
    ['USER', 'USER'],
    ['\u00aa', 'a'],
    ['\u2168', 'IX'],
    ['\u0007', undefined],
    ['\u0627\u0031', undefined],
    ['a\u00a0b\u3000c', 'a b c'],
    ['a\u200bb', 'a b'],
    ['a\u200cb\ufeff', 'ab'],
    ['\ue000', undefined],
    ['\u{1fffe}', undefined],
    ['\ud800', undefined],
    ['\u206a', undefined],
    ['\u{e0041}', undefined],
    ['\u05d0\u05d1', '\u05d0\u05d1'],
    ['\u05d0 1 \u05d1', '\u05d0 1 \u05d1'],
    ['\u05d0a\u05d1', undefined],
    ['a\u05d0', undefined],
    ['\u05d0.', undefined],
    ['pa\u{1f511}ss', 'pa\u{1f511}ss'],
  ]
  for (const [text, outcome] of examples) t.equal(prepared(text), outcome, JSON.stringify(text))
  const scram = new ScramSha256(usersFile(t), new SeededRandom(1))
  t.match(exchanged(scram, new ScramClient('us\u00ader', 'pencil')), { kind: 'proved', username: 'user' })
  t.equal(exchanged(scram, new ScramClient('us\u202eer', 'pencil')).kind, 'refused')
})

t.test('the file of users', async (t) => {
  await t.test('is read again on demand', async (t) => {
    const path = usersFile(t)
    const scram = new ScramSha256(path, new SeededRandom(1))
    changeUser(path, 'late', makeCredentials('x', salt, 4096))
    t.equal(exchanged(scram, new ScramClient('late', 'x')).kind, 'refused')
    scram.reload()
    t.equal(exchanged(scram, new ScramClient('late', 'x')).kind, 'proved')
  })

  await t.test('keeps comments and order, and gives no password away', async (t) => {
    const path = join(t.testdir({}), 'users.scram')
    writeFileSync(path, '# ours\n')
    for (const name of ['a', 'b', 'c']) changeUser(path, name, makeCredentials('secret', salt, 4096))
    t.ok(changeUser(path, 'b', makeCredentials('other', salt, 4096)))
    t.ok(changeUser(path, 'a', undefined))
    t.notOk(changeUser(path, 'a', undefined))
    const lines = readFileSync(path, 'utf8').split('\n')
    t.same(
      lines.map((line) => line.split(':')[0]),
      ['# ours', 'b', 'c', ''],
    )
    t.notMatch(lines.join(), 'secret')
    t.same([...readUsers(path).keys()], ['b', 'c'])
  })

  await t.test('that is absent or broken is a failure that names the line', async (t) => {
    const path = join(t.testdir({}), 'users.scram')
    t.throws(() => readUsers(path), Failure)
    writeFileSync(path, '\nuser:SCRAM-SHA-256$12:abc\n')
    t.throws(() => readUsers(path), { code: 'ERR_USERS_FILE', message: /line 2/ })
    t.equal(parseCredentials('SCRAM-SHA-256$4096:AA==$AA==:AA=='), undefined, 'keys of the wrong size')
  })

  await t.test('has names that fit on its lines', async (t) => {
    for (const name of ['pump-7', 'a b', '\u00fc']) t.ok(isUserName(name), name)
    for (const name of ['', 'a:b', 'a\nb', ' a', 'a ', 'x'.repeat(257)]) t.notOk(isUserName(name), name)
  })
})

t.test('tidegate passwd', async (t) => {
  const path = join(t.testdir({}), 'users.scram')
  const passwd = (args: string[], input = '') => runCommand(['passwd', '--file', path, ...args], { input })
  const added = await passwd(['--iterations', '4096', 'pump-7'], 'secret\n')
  t.same([added.code, added.stdout], [0, 'added    pump-7\n'])
  t.equal(statSync(path).mode & 0o777, 0o600)
  const scram = new ScramSha256(path, new SeededRandom(1))
  t.equal(exchanged(scram, new ScramClient('pump-7', 'secret')).kind, 'proved')
  t.match(await passwd(['a:b'], 'secret\n'), { code: 2, stderr: /no colon/ })
  t.match(await passwd(['pump-7']), { code: 2, stderr: /empty/ })
  t.match(await passwd(['pump-7'], 'se\u202ecret\n'), { code: 2, stderr: /invisible/ })
  t.match(await passwd(['pu\u202emp'], 'secret\n'), { code: 2, stderr: /visible/ })
  t.match(await passwd(['--delete', 'pump-7']), { code: 0, stdout: 'deleted  pump-7\n' })
  t.same([...readUsers(path)], [])
})
