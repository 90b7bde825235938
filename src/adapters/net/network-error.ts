/** What the system and OpenSSL say, in words that an operator can act on. */
import { getSystemErrorMap } from 'node:util'

const untrusted = 'its certificate is not signed by a CA that is trusted here'
const refusedByPeer = 'the peer does not accept our certificate'

/** Only what the system's own words do not make clear. */
const words: ReadonlyMap<string, string> = new Map([
  ['ENOTFOUND', 'unknown host'],
  ['EAI_AGAIN', 'the name cannot be resolved at present'],
  ['EPIPE', 'the peer does not read any more'],
  ['CERT_HAS_EXPIRED', 'certificate has expired'],
  ['CERT_NOT_YET_VALID', 'certificate is not valid yet; is the clock of this machine right?'],
  ['CERT_REVOKED', 'certificate is revoked'],
  ['INVALID_PURPOSE', 'certificate is made for another purpose'],
  ['SELF_SIGNED_CERT_IN_CHAIN', untrusted],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', untrusted],
  ['UNABLE_TO_GET_ISSUER_CERT', untrusted],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', untrusted],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', untrusted],
  ['CERT_SIGNATURE_FAILURE', untrusted],
  ['ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE', 'no client certificate'],
  ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'the peer wants a client certificate'],
  ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', refusedByPeer],
  ['ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE', refusedByPeer],
  ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED', refusedByPeer],
  ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN', refusedByPeer],
  ['ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE', 'the peer refused the handshake; it may want a client certificate'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'the peer does not speak TLS'],
  ['ERR_SSL_HTTP_REQUEST', 'the peer speaks HTTP without TLS'],
  ['ERR_SSL_UNSUPPORTED_PROTOCOL', 'the peer speaks no TLS version from 1.2 on'],
  ['ERR_TLS_HANDSHAKE_TIMEOUT', 'the TLS handshake took too long'],
])

/** @example describeError(error) // 'connection refused' */
export function describeError(error: unknown): string {
  // Where a name has several addresses, each was tried and failed; the first is the one that people expect.
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error
  const { code, errno, reason, message } = first as NodeJS.ErrnoException & { reason?: string }
  const known = code === undefined ? undefined : words.get(code)
  return known ?? getSystemErrorMap().get(errno ?? 0)?.[1] ?? reason ?? message
}

/** The same for a verification result, which is a code without an error. */
export function describeCode(code: string): string {
  return words.get(code) ?? code
}
