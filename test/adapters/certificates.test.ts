import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ensureServerCertificates, makeCertificates } from '../../src/adapters/certificates/certificate-directory.ts'
import { Failure } from '../../src/lib/errors.ts'

const dayMs = 24 * 3_600_000
const hosts = ['cloud.example', '*.cloud.example', '192.0.2.7', '::1']

function openssl(...args: string[]): string {
  return execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

function parse(directory: string, name: string): X509Certificate {
  return new X509Certificate(readFileSync(join(directory, name)))
}

function contents(directory: string): Record<string, string> {
  return Object.fromEntries(readdirSync(directory).map((name) => [name, readFileSync(join(directory, name), 'utf8')]))
}

t.test('OpenSSL verifies what was made, for its purpose and its names only', async (t) => {
  const directory = join(t.testdir({}), 'certs')
  await makeCertificates({ directory, hosts, clients: ['barn-7'], force: false })
  const verify = (...args: string[]) => openssl('verify', '-x509_strict', '-CAfile', join(directory, 'ca.crt'), ...args)
  const server = join(directory, 'server.crt')
  const client = join(directory, 'barn-7.crt')

  for (const name of ['cloud.example', 'eu.cloud.example']) {
    t.match(verify('-purpose', 'sslserver', '-verify_hostname', name, server), /OK/)
  }
  for (const address of ['192.0.2.7', '::1']) {
    t.match(verify('-purpose', 'sslserver', '-verify_ip', address, server), /OK/)
  }
  t.match(verify('-purpose', 'sslclient', client), /OK/)
  t.throws(() => verify('-purpose', 'sslclient', server))
  t.throws(() => verify('-purpose', 'sslserver', client))
  t.throws(() => verify('-verify_hostname', 'other.example', server))
})

t.test('certificates hold what gateways with bad clocks and strict peers need', async (t) => {
  const directory = t.testdir({})
  await makeCertificates({ directory, hosts, clients: ['barn-7', 'barn-8'], force: false })
  const ca = parse(directory, 'ca.crt')
  const server = parse(directory, 'server.crt')
  const client = parse(directory, 'barn-7.crt')
  const daysFromNow = (text: string) => Math.round((Date.parse(text) - Date.now()) / dayMs)

  t.equal(ca.ca, true)
  t.equal(server.ca, false)
  t.match(ca.subject, /^CN=Tidegate CA [0-9a-f]{8}$/)
  t.equal(client.subject, 'CN=barn-7')
  t.equal(client.toLegacyObject().subject.CN, 'barn-7')
  t.strictSame(
    [ca, server, client].map(({ validFrom }) => daysFromNow(validFrom)),
    [-1, -1, -1],
  )
  t.strictSame(
    [ca, server, client].map(({ validTo }) => daysFromNow(validTo)),
    [3650, 825, 825],
  )
  t.strictSame(server.keyUsage, ['1.3.6.1.5.5.7.3.1'])
  t.strictSame(client.keyUsage, ['1.3.6.1.5.5.7.3.2'])
  const serials = [ca, server, client, parse(directory, 'barn-8.crt')].map(({ serialNumber }) => serialNumber)
  t.equal(new Set(serials).size, 4)
  for (const serial of serials) t.equal(serial.length, 32)
  const text = openssl('x509', '-in', join(directory, 'server.crt'), '-noout', '-text')
  t.match(text, /prime256v1/)
  t.match(text, /Basic Constraints: critical\s+CA:FALSE/)
  t.match(text, /Key Usage: critical\s+Digital Signature\n/)
  t.match(text, /Authority Key Identifier/)
})

t.test('keys are for their owner only', async (t) => {
  const directory = t.testdir({})
  await makeCertificates({ directory, hosts, clients: ['barn-7'], force: false })
  for (const name of readdirSync(directory)) {
    t.equal(statSync(join(directory, name)).mode & 0o777, name.endsWith('.key') ? 0o600 : 0o644, name)
  }
})

t.test('what is there is kept, and further clients come from the same CA', async (t) => {
  const directory = t.testdir({})
  const first = await makeCertificates({ directory, hosts, clients: ['a'], force: false })
  const before = contents(directory)
  const second = await makeCertificates({ directory, hosts: ['other.example'], clients: ['a', 'b'], force: false })
  const after = contents(directory)

  const paths = (...names: string[]) => names.map((name) => join(directory, name))
  t.strictSame(first.written, paths('ca.crt', 'ca.key', 'server.crt', 'server.key', 'a.crt', 'a.key'))
  t.strictSame(first.kept, [])
  t.strictSame(second.written, paths('b.crt', 'b.key'))
  t.strictSame(second.kept, paths('server.crt', 'server.key', 'a.crt', 'a.key', 'ca.crt', 'ca.key'))
  t.match(after, before)
  t.ok(parse(directory, 'b.crt').verify(parse(directory, 'ca.crt').publicKey))
})

t.test('force replaces certificates but never the CA', async (t) => {
  const directory = t.testdir({})
  await makeCertificates({ directory, hosts, clients: ['a'], force: false })
  const before = contents(directory)
  await makeCertificates({ directory, hosts: ['other.example'], clients: ['a'], force: true })
  const after = contents(directory)
  const changed = Object.keys(after).filter((name) => after[name] !== before[name])
  t.strictSame(changed.sort(), ['a.crt', 'a.key', 'server.crt', 'server.key'])
  t.equal(parse(directory, 'server.crt').subjectAltName, 'DNS:other.example')
})

t.test('half a pair is neither completed nor overwritten', async (t) => {
  for (const [there, missing] of [
    ['ca.crt', 'ca.key'],
    ['server.key', 'server.crt'],
  ] as const) {
    const directory = t.testdir({})
    await makeCertificates({ directory, hosts, clients: [], force: false })
    rmSync(join(directory, missing))
    const before = readFileSync(join(directory, there), 'utf8')
    const names = there === 'ca.crt' ? ['new'] : []
    await t.rejects(makeCertificates({ directory, hosts, clients: names, force: false }), {
      code: 'ERR_CERTIFICATE',
      detail: new RegExp(`${there}" is there without .*${missing}`),
    })
    t.equal(readFileSync(join(directory, there), 'utf8'), before)
  }
})

t.test('a CA that cannot be used is a failure that names the directory', async (t) => {
  const other = t.testdir({ one: {}, two: {} })
  const [one, two] = [join(other, 'one'), join(other, 'two')]
  for (const directory of [one, two]) await makeCertificates({ directory, hosts: [], clients: [], force: false })
  t.strictSame(readdirSync(one), ['ca.crt', 'ca.key'])

  writeFileSync(join(two, 'ca.key'), readFileSync(join(one, 'ca.key')))
  const request = { hosts, clients: [], force: false }
  await t.rejects(makeCertificates({ directory: two, ...request }), {
    code: 'ERR_CERTIFICATE',
    detail: /key of the CA in .*two" does not belong/,
  })
  writeFileSync(join(one, 'ca.key'), 'not a key')
  await t.rejects(makeCertificates({ directory: one, ...request }), { code: 'ERR_CERTIFICATE', detail: /one"/ })
  t.notOk(existsSync(join(one, 'server.key')))
})

t.test('names that are no file names, or no host names, are refused before anything is written', async (t) => {
  const directory = join(t.testdir({}), 'none')
  for (const name of ['../evil', 'ca', 'server', '', 'a b', 'a/b', '.hidden', 'x'.repeat(65)]) {
    await t.rejects(makeCertificates({ directory, hosts, clients: [name], force: false }), Failure, name)
  }
  for (const host of ['', 'a b', 'https://x', 'x:1', 'bücher.example']) {
    await t.rejects(makeCertificates({ directory, hosts: [host], clients: [], force: false }), Failure, host)
  }
  t.notOk(existsSync(directory))
})

t.test('a directory that cannot be made is a failure that names it', async (t) => {
  const directory = join(t.testdir({ file: 'x' }), 'file', 'certs')
  await t.rejects(makeCertificates({ directory, hosts, clients: [], force: false }), {
    code: 'ERR_CERTIFICATE',
    detail: /file\/certs": ENOTDIR/,
  })
})

t.test('a first start makes everything, and later starts need no CA key', async (t) => {
  const directory = join(t.testdir({}), 'certs')
  const first = await ensureServerCertificates(directory, ['localhost'], ['gateway'])
  t.equal(first.report.written.length, 6)
  t.strictSame(first.files, {
    certificate: join(directory, 'server.crt'),
    privateKey: join(directory, 'server.key'),
    ca: join(directory, 'ca.crt'),
  })
  for (const name of ['ca.key', 'gateway.key', 'gateway.crt']) rmSync(join(directory, name))
  const second = await ensureServerCertificates(directory, ['localhost'], ['gateway'])
  t.strictSame(second.files, first.files)
  t.strictSame(second.report.written, [])
  t.notOk(existsSync(join(directory, 'ca.key')))
})
