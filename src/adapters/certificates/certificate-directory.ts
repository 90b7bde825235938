/**
 * Certificates as files of one directory: `ca.crt`, `ca.key`, `server.crt`, `server.key`, and `NAME.crt`, `NAME.key` for
 * each client. A key is readable by its owner only, and every file appears whole or not at all.
 *
 * What is there stays there. `force` replaces server and client certificates, but never the CA: every certificate in
 * the field would end with it. Who wants a new one moves the old one away.
 */
import { existsSync } from 'node:fs'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { Failure } from '../../lib/errors.ts'
import {
  type Authority,
  createAuthority,
  type IssuedCertificate,
  issueClientCertificate,
  issueServerCertificate,
  loadAuthority,
} from './authority.ts'

export interface CertificateRequest {
  readonly directory: string
  /** Names and IP addresses of the server; none = no server certificate. */
  readonly hosts: readonly string[]
  /** Identities of clients, which are file names too. */
  readonly clients: readonly string[]
  /** Replace server and client certificates that are there already. */
  readonly force: boolean
}

/** Paths, in the order they were met. The CA is among them when something was issued or nothing else was asked for. */
export interface CertificateReport {
  readonly written: readonly string[]
  readonly kept: readonly string[]
}

export interface ServerCertificateFiles {
  readonly certificate: string
  readonly privateKey: string
  readonly ca: string
}

/** Rejects with the Failure ERR_CERTIFICATE. */
export async function makeCertificates(request: CertificateRequest): Promise<CertificateReport> {
  const { directory, hosts, clients, force } = request
  for (const host of hosts) checkHost(host)
  for (const name of clients) checkClientName(name)
  const work = new DirectoryWork(directory, force)
  try {
    await mkdir(directory, { recursive: true })
    if (hosts.length + clients.length === 0) await work.authority()
    if (hosts.length > 0) await work.add('server', (authority) => issueServerCertificate(authority, hosts))
    for (const name of clients) await work.add(name, (authority) => issueClientCertificate(authority, name))
  } catch (error) {
    if (error instanceof Failure || (error as NodeJS.ErrnoException).code === undefined) throw error
    throw new Failure('ERR_CERTIFICATE', `directory "${directory}": ${(error as Error).message}`, error)
  }
  return work
}

/**
 * For the first start of a server: makes what is missing, and nothing when the server has its certificate. From then
 * on the key of the CA may be taken away to a safer place.
 *
 * @param clients identities of the first clients, made only together with the server's certificate
 */
export async function ensureServerCertificates(
  directory: string,
  hosts: readonly string[],
  clients: readonly string[],
): Promise<{ readonly files: ServerCertificateFiles; readonly report: CertificateReport }> {
  const server = pairPaths(directory, 'server')
  const files = { ...server, ca: pairPaths(directory, 'ca').certificate }
  const isComplete = existsSync(server.certificate) && existsSync(server.privateKey)
  const report = isComplete
    ? { written: [], kept: [server.certificate, server.privateKey] }
    : await makeCertificates({ directory, hosts, clients, force: false })
  return { files, report }
}

class DirectoryWork implements CertificateReport {
  readonly written: string[] = []
  readonly kept: string[] = []
  readonly #directory: string
  readonly #force: boolean
  #authority: Authority | undefined

  constructor(directory: string, force: boolean) {
    this.#directory = directory
    this.#force = force
  }

  /** The CA of the directory, made when there is none. */
  async authority(): Promise<Authority> {
    if (this.#authority !== undefined) return this.#authority
    const paths = pairPaths(this.#directory, 'ca')
    if (isPairThere(paths)) {
      this.kept.push(paths.certificate, paths.privateKey)
      const certificate = await readFile(paths.certificate, 'utf8')
      const privateKey = await readFile(paths.privateKey, 'utf8')
      this.#authority = await loadAuthority({ certificate, privateKey }, this.#directory)
    } else {
      this.#authority = await createAuthority()
      await this.#write(paths, this.#authority)
    }
    return this.#authority
  }

  async add(name: string, issue: (authority: Authority) => Promise<IssuedCertificate>): Promise<void> {
    const paths = pairPaths(this.#directory, name)
    if (!this.#force && isPairThere(paths)) this.kept.push(paths.certificate, paths.privateKey)
    else await this.#write(paths, await issue(await this.authority()))
  }

  async #write(paths: PairPaths, issued: IssuedCertificate): Promise<void> {
    await writeWhole(paths.privateKey, issued.privateKey, 0o600)
    await writeWhole(paths.certificate, issued.certificate, 0o644)
    this.written.push(paths.certificate, paths.privateKey)
  }
}

type PairPaths = { readonly certificate: string; readonly privateKey: string }

function pairPaths(directory: string, name: string): PairPaths {
  return { certificate: join(directory, `${name}.crt`), privateKey: join(directory, `${name}.key`) }
}

/** Half a pair is somebody's, and not ours to complete or to overwrite. */
function isPairThere({ certificate, privateKey }: PairPaths): boolean {
  const hasCertificate = existsSync(certificate)
  const hasKey = existsSync(privateKey)
  if (hasCertificate === hasKey) return hasKey
  const [there, missing] = hasKey ? [privateKey, certificate] : [certificate, privateKey]
  throw new Failure('ERR_CERTIFICATE', `"${there}" is there without "${missing}": put it back, or move both away`)
}

function checkHost(host: string): void {
  const isName = /^(\*\.)?[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*$/.test(host)
  if (!isName && isIP(host) === 0) throw new Failure('ERR_CERTIFICATE', `host "${host}" is no host name or IP address`)
}

function checkClientName(name: string): void {
  const isUsable = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name) && name !== 'ca' && name !== 'server'
  if (isUsable) return
  const rule = '1 to 64 letters, digits, ".", "_" and "-", but not "ca" or "server"'
  throw new Failure('ERR_CERTIFICATE', `client name "${name}" is not ${rule}`)
}

async function writeWhole(path: string, text: string, mode: number): Promise<void> {
  const draft = `${path}.new`
  await rm(draft, { force: true })
  const file = await open(draft, 'wx', mode)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(draft, path)
}
