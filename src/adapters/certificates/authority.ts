/**
 * A small certificate authority for gateways and their cloud: EC P-256, one level, no revocation. Certificates begin
 * one day before they are made, because a gateway without a clock chip lives in the past until its first NTP answer.
 */
import { createPrivateKey, KeyObject, randomBytes, webcrypto, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import type { Extension, JsonName } from '@peculiar/x509'
import { Failure } from '../../lib/errors.ts'
import { loadX509 } from './x509.ts'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const dayMs = 24 * 3_600_000
const authorityDays = 3650

/** The longest that every common TLS stack accepts. */
const leafDays = 825

/** A certificate and its private key as PEM. */
export interface IssuedCertificate {
  readonly certificate: string
  readonly privateKey: string
}

export interface Authority extends IssuedCertificate {
  readonly signingKey: webcrypto.CryptoKey
}

export interface Validity {
  readonly notBefore: Date
  readonly notAfter: Date
}

/** A new authority with a name of its own, so that two of them are never mistaken for each other. */
export async function createAuthority(validity: Validity = validFor(authorityDays)): Promise<Authority> {
  const x509 = await loadX509()
  const keys = await generateKeys()
  const name: JsonName = [{ CN: [`Tidegate CA ${randomBytes(4).toString('hex')}`] }]
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name,
    keys,
    serialNumber: randomSerialNumber(),
    ...validity,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificate: pem(certificate), privateKey: keyPem(keys.privateKey), signingKey: keys.privateKey }
}

/**
 * An authority made earlier. Rejects with the Failure ERR_CERTIFICATE when the two do not belong together.
 *
 * @param origin where they come from, for the failure
 */
export async function loadAuthority(
  { certificate, privateKey }: IssuedCertificate,
  origin: string,
): Promise<Authority> {
  try {
    const key = createPrivateKey(privateKey)
    if (!new X509Certificate(certificate).checkPrivateKey(key)) {
      throw new Failure('ERR_CERTIFICATE', `the key of the CA in "${origin}" does not belong to its certificate`)
    }
    const bytes = key.export({ type: 'pkcs8', format: 'der' })
    const signingKey = await webcrypto.subtle.importKey('pkcs8', bytes, algorithm, false, ['sign'])
    return { certificate, privateKey, signingKey }
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure(
      'ERR_CERTIFICATE',
      `the CA in "${origin}" is not of the kind made here, EC P-256 in PEM form`,
      error,
    )
  }
}

/** @param hosts every name and IP address under which clients reach the server; at least one */
export async function issueServerCertificate(
  authority: Authority,
  hosts: readonly string[],
  validity?: Validity,
): Promise<IssuedCertificate> {
  const x509 = await loadX509()
  const names = hosts.map((host) => ({ type: isIP(host) === 0 ? ('dns' as const) : ('ip' as const), value: host }))
  return await issue(authority, hosts[0] ?? '', validity, [
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
    new x509.SubjectAlternativeNameExtension(names),
  ])
}

/** @param name the identity that the certificate proves: its common name */
export async function issueClientCertificate(
  authority: Authority,
  name: string,
  validity?: Validity,
): Promise<IssuedCertificate> {
  const x509 = await loadX509()
  return await issue(authority, name, validity, [
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
  ])
}

async function issue(
  authority: Authority,
  name: string,
  validity: Validity = validFor(leafDays),
  extensions: readonly Extension[],
): Promise<IssuedCertificate> {
  const x509 = await loadX509()
  const keys = await generateKeys()
  const issuer = new x509.X509Certificate(authority.certificate)
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [{ CN: [name.slice(0, 64)] }],
    issuer: issuer.subjectName,
    serialNumber: randomSerialNumber(),
    ...validity,
    publicKey: keys.publicKey,
    signingKey: authority.signingKey,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      ...extensions,
    ],
  })
  return { certificate: pem(certificate), privateKey: keyPem(keys.privateKey) }
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
}

function validFor(days: number): Validity {
  const now = Date.now()
  return { notBefore: new Date(now - dayMs), notAfter: new Date(now + days * dayMs) }
}

/** 126 random bits: positive and never shortened, whatever the first bits were. */
function randomSerialNumber(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] as number) & 0x3f) | 0x40
  return bytes.toString('hex')
}

function pem(certificate: { toString(format: 'pem'): string }): string {
  return `${certificate.toString('pem')}\n`
}

function keyPem(key: webcrypto.CryptoKey): string {
  return KeyObject.from(key).export({ type: 'pkcs8', format: 'pem' }).toString()
}
