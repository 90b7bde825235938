/**
 * SCRAM-SHA-256 as a method of extended authentication (RFC 5802, RFC 7677): the client proves that it knows a
 * password, and learns that the broker knows it too, without the password on the wire. No channel binding.
 *
 *   client-first  n,,n=user,r=nonce                 -> server-first  r=nonce+ours,s=salt,i=iterations
 *   client-final  c=biws,r=nonce+ours,p=proof       -> server-final  v=signature
 *
 * Who is not known is asked like everybody else, with a salt that stays the same, and refused at the end.
 */
import { timingSafeEqual } from 'node:crypto'
import type { AuthenticationExchange, AuthenticationMethod, AuthenticationStep } from '../../ports/auth.ts'
import type { Random } from '../../ports/random.ts'
import { ReasonCode } from '../../protocol/reason.ts'
import { type Credentials, hmac, sha256 } from './credentials.ts'
import { prepared } from './saslprep.ts'
import { readUsers } from './users-file.ts'

const nonceBytes = 18

/** What somebody who is not known is asked with. */
const iterationsOfNobody = 10_000

export class ScramSha256 implements AuthenticationMethod {
  readonly name = 'SCRAM-SHA-256'
  readonly #path: string
  readonly #random: Random
  readonly #secret: Buffer
  #users: ReadonlyMap<string, Credentials>

  /** @throws Failure ERR_USERS_FILE */
  constructor(path: string, random: Random) {
    this.#path = path
    this.#random = random
    this.#secret = Buffer.from(random.hex(32), 'hex')
    this.#users = readUsers(path)
  }

  /** From now on the file as it is now counts. @throws Failure ERR_USERS_FILE, and goes on as before */
  reload(): void {
    this.#users = readUsers(this.#path)
  }

  begin(): AuthenticationExchange {
    return new Exchange((name) => this.#users.get(name), this.#secret, this.#random.hex(nonceBytes))
  }
}

class Exchange implements AuthenticationExchange {
  readonly #find: (name: string) => Credentials | undefined
  readonly #secret: Buffer
  readonly #ownNonce: string
  #asked: Asked | undefined

  constructor(find: (name: string) => Credentials | undefined, secret: Buffer, ownNonce: string) {
    this.#find = find
    this.#secret = secret
    this.#ownNonce = ownNonce
  }

  step(data: Buffer | undefined, answer: (step: AuthenticationStep) => void): void {
    if (this.#asked !== undefined) answer(this.#finish(this.#asked, data?.toString('utf8') ?? ''))
    else if (data === undefined || data.length === 0) answer({ kind: 'challenge', data: undefined })
    else answer(this.#ask(data.toString('utf8')))
  }

  #ask(message: string): AuthenticationStep {
    const first = parseClientFirst(message)
    if (first === undefined) return refused('not a client-first-message of SCRAM')
    const { header, bare, username, nonce } = first
    const known = this.#find(username)
    const { salt, iterations } = known ?? {
      salt: hmac(this.#secret, username).subarray(0, 16),
      iterations: iterationsOfNobody,
    }
    const wholeNonce = nonce + this.#ownNonce
    const serverFirst = `r=${wholeNonce},s=${salt.toString('base64')},i=${iterations}`
    this.#asked = { username, header, nonce: wholeNonce, known, messages: `${bare},${serverFirst}` }
    return { kind: 'challenge', data: Buffer.from(serverFirst) }
  }

  #finish({ username, header, nonce, known, messages }: Asked, message: string): AuthenticationStep {
    const final = /^(c=([^,]+),r=([^,]+)),p=([A-Za-z0-9+/=]+)$/.exec(message)
    if (final === null) return refused('not a client-final-message of SCRAM')
    const [, withoutProof, binding, echoedNonce, proof] = final
    if (binding !== Buffer.from(header).toString('base64')) return refused('channel binding that was not agreed')
    if (echoedNonce !== nonce) return refused('another nonce')
    const authMessage = `${messages},${withoutProof}`
    const { storedKey, serverKey } = known ?? { storedKey: this.#secret, serverKey: this.#secret }
    const isProved = provesKey(Buffer.from(proof ?? '', 'base64'), storedKey, authMessage)
    if (!isProved || known === undefined) return refused('user name or password')
    const signature = hmac(serverKey, authMessage).toString('base64')
    return { kind: 'proved', username, data: Buffer.from(`v=${signature}`) }
  }
}

type Asked = {
  readonly username: string
  readonly header: string
  readonly nonce: string
  readonly known: Credentials | undefined
  /** Those of both sides so far, as the proof covers them. */
  readonly messages: string
}

/** undefined when it is not one that we take: channel binding and acting for somebody else are not. */
function parseClientFirst(message: string) {
  const match = /^([ny],(?:a=([^,]*))?,)(n=([^,]+),r=([!-+\--~]+))$/.exec(message)
  if (match === null) return undefined
  const [, header = '', actingFor, bare = '', name = '', nonce = ''] = match
  if (/=(?!2C|3D)/.test(name)) return undefined
  const username = unescaped(name)
  if (username === undefined || (actingFor !== undefined && unescaped(actingFor) !== username)) return undefined
  return { header, bare, username, nonce }
}

function unescaped(name: string): string | undefined {
  return prepared(name.replaceAll('=2C', ',').replaceAll('=3D', '='))
}

function provesKey(proof: Buffer, storedKey: Buffer, authMessage: string): boolean {
  const signature = hmac(storedKey, authMessage)
  if (proof.length !== signature.length) return false
  const clientKey = Buffer.from(proof.map((byte, at) => byte ^ (signature[at] as number)))
  return timingSafeEqual(sha256(clientKey), storedKey)
}

function refused(why: string): AuthenticationStep {
  return { kind: 'refused', reasonCode: ReasonCode.notAuthorized, why }
}
