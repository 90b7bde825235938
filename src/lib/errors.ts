/**
 * Every failure an operator can meet, once: its code, what it means, and the cure. The CLI, the log and the docs
 * print from this table. A failure is the world saying no (disk, network, configuration); a peer that breaks the
 * protocol is a PacketFault (protocol/fault.ts), and our own mistakes are assertions (lib/assert.ts).
 */
type Row = { readonly text: string; readonly cure: string; readonly retryable: boolean }

export const ERRORS = {
  ERR_CONFIG_READ: {
    text: 'the configuration file cannot be read',
    cure: 'check the path given with --config',
    retryable: false,
  },
  ERR_CONFIG_SYNTAX: {
    text: 'the configuration file is not valid TOML',
    cure: 'correct the line that is named',
    retryable: false,
  },
  ERR_CONFIG_VALUE: {
    text: 'a setting is not usable',
    cure: 'see configs/reference.md for what it may be',
    retryable: false,
  },
  ERR_BRIDGE_LOOP: {
    text: 'rules of a bridge would send messages round',
    cure: 'see [[bridge]] in configs/reference.md',
    retryable: false,
  },
  ERR_LISTEN: { text: 'a listener cannot be opened', cure: 'free the address or change bind', retryable: false },
  ERR_LISTENER_OPEN: {
    text: 'a listener reachable from other machines would let anybody in',
    cure: 'require client certificates, name users with authentication.scram_users, bind to 127.0.0.1, or set allow_anonymous = true',
    retryable: false,
  },
  ERR_CERTIFICATE: {
    text: 'a certificate or key cannot be used',
    cure: 'make one with tidegate certs, or correct the path',
    retryable: false,
  },
  ERR_USERS_FILE: {
    text: 'the file of users cannot be used',
    cure: 'make it with tidegate passwd, or correct the path or the line',
    retryable: false,
  },
  ERR_DATA_DIR: {
    text: 'the data directory cannot be used',
    cure: 'create it, or make it writable for this user',
    retryable: false,
  },
  ERR_STORE_FULL: { text: 'the disk is full', cure: 'free space; the broker goes on by itself', retryable: true },
  ERR_STORE_SPACE: {
    text: 'the disk is nearly full',
    cure: 'free space, or lower store.free_bytes_min or store.free_percent_min; the broker goes on by itself',
    retryable: true,
  },
  ERR_STORE_WRITE: {
    text: 'the store cannot be written',
    cure: 'check the disk and the permissions of data_dir',
    retryable: true,
  },
  ERR_STORE_READ: {
    text: 'the store cannot be read',
    cure: 'check the disk; a damaged file is reported by name',
    retryable: true,
  },
  ERR_STORE_NEWER: {
    text: 'the store was written by a newer version',
    cure: 'install that version or newer, or use another data_dir',
    retryable: false,
  },
  ERR_STORE_IN_USE: {
    text: 'the store is in use by another process',
    cure: 'stop the other process or use another data_dir',
    retryable: false,
  },
  ERR_SERIAL_OPEN: {
    text: 'a serial device cannot be opened',
    cure: 'plug it in, or check path and permissions (group dialout)',
    retryable: true,
  },
  ERR_SERIAL_IN_USE: {
    text: 'a serial device is in use by another program',
    cure: 'end that program; if it is the broker, name its port instead of the path: tidegate ctl serial lists them',
    retryable: true,
  },
  ERR_SERIAL_NAME: {
    text: 'the broker has no such serial port',
    cure: 'tidegate ctl serial lists them',
    retryable: false,
  },
  ERR_CAPTURE_FILE: {
    text: 'not a captured serial line',
    cure: 'give a file that npm run sim -- run SCENARIO --capture FILE has written, or the path of a port',
    retryable: false,
  },
  ERR_SERIAL_CLOSED: { text: 'a serial device went away', cure: 'plug it in again', retryable: true },
  ERR_DIAL: {
    text: 'the remote broker cannot be reached',
    cure: 'check address, network and certificates',
    retryable: true,
  },
  ERR_CONTROL_SOCKET: {
    text: 'the control socket cannot be used',
    cure: 'use the user that the broker runs as, and a data_dir of its own for each broker',
    retryable: false,
  },
  ERR_CONTROL_REFUSED: { text: 'the broker says no', cure: 'see what it says', retryable: false },
  ERR_NO_BROKER: {
    text: 'no broker answers',
    cure: 'start one, or say which with --data-dir; if it cannot write there and its service has a RuntimeDirectory, set RUNTIME_DIRECTORY to that',
    retryable: true,
  },
  ERR_LINK_CLOSED: { text: 'the network connection ended', cure: 'none needed; it is opened again', retryable: true },
} as const satisfies Record<string, Row>

export type ErrorCode = keyof typeof ERRORS

/** A failure as a value: `detail` names the thing (path, key, address) and never holds a secret. */
export class Failure extends Error {
  override readonly name = 'Failure'
  readonly code: ErrorCode
  readonly detail: string

  constructor(code: ErrorCode, detail: string, cause?: unknown) {
    super(`${ERRORS[code].text}: ${detail}`, cause === undefined ? undefined : { cause })
    this.code = code
    this.detail = detail
  }

  /** One line for people: what, which, and the cure. */
  get line(): string {
    return `${this.message} (${this.code}): ${ERRORS[this.code].cure}`
  }

  get isRetryable(): boolean {
    return ERRORS[this.code].retryable
  }
}
