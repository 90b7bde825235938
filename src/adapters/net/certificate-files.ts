/**
 * Certificates and keys from PEM files, checked before they are used, so that a wrong path or a key of another
 * certificate is one clear line and not a failed handshake later.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { Failure } from '../../lib/errors.ts'
import { describeError } from './network-error.ts'

/** Paths of PEM files, under the names of their settings. */
export interface CertificateFiles {
  readonly certificate: string
  readonly privateKey: string
}

/**
 * What Node's TLS takes. Reads the files anew each time, so a renewed certificate is used from the next call on.
 *
 * @param own what this side shows; undefined = nothing
 * @param ca path of the CAs that the peer's certificate must come from; undefined = the public ones Node knows
 * @throws Failure ERR_CERTIFICATE
 */
export function readSecureOptions(own: CertificateFiles | undefined, ca: string | undefined): SecureContextOptions {
  const options: SecureContextOptions = { minVersion: 'TLSv1.2' }
  if (ca !== undefined) {
    options.ca = readPem('ca', ca)
    parseCertificate('ca', ca, options.ca)
  }
  if (own !== undefined) {
    options.cert = readPem('certificate', own.certificate)
    options.key = readPem('private_key', own.privateKey)
    const certificate = parseCertificate('certificate', own.certificate, options.cert)
    if (!certificate.checkPrivateKey(parseKey(own.privateKey, options.key))) {
      throw unusable('private_key', own.privateKey, `does not belong to certificate = "${own.certificate}"`)
    }
  }
  try {
    createSecureContext(options)
  } catch (error) {
    throw unusable('certificate', own?.certificate ?? ca ?? '', describeError(error), error)
  }
  return options
}

function readPem(key: string, path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw unusable(key, path, describeError(error), error)
  }
}

function parseCertificate(key: string, path: string, pem: Buffer): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (error) {
    throw unusable(key, path, 'holds no certificate in PEM form', error)
  }
}

function parseKey(path: string, pem: Buffer): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch (error) {
    throw unusable('private_key', path, 'holds no private key in PEM form that can be read without a password', error)
  }
}

function unusable(key: string, path: string, reason: string, cause?: unknown): Failure {
  return new Failure('ERR_CERTIFICATE', `${key} = "${path}": ${reason}`, cause)
}
