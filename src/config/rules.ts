/**
 * What one setting demands of another, and of the world: checked when every setting for itself is fine.
 * The rule that matters most: a listener that other machines reach lets nobody in who was not asked.
 */
import { accessSync, constants } from 'node:fs'
import { Failure } from '../lib/errors.ts'
import { formatBind, isEncrypted } from './address.ts'
import { findCircles, ruleFault } from './bridge-rules.ts'
import { formatSetting, type Path, type SourceOf, unusableSetting } from './complaint.ts'
import {
  clientCertificate,
  hasTls,
  hasWebSocket,
  type Parsed,
  type ParsedBridge,
  type ParsedListener,
  serialName,
  staysLocal,
} from './settings.ts'

const tlsKeys = ['certificate', 'private_key', 'ca'] as const

/** @param locate makes the name of a certificate file absolute */
export function brokenRules(parsed: Parsed, sourceOf: SourceOf, locate: (file: string) => string): Failure[] {
  const failures: Failure[] = []
  const complain = (path: Path, value: unknown, expected: string) => {
    failures.push(unusableSetting(sourceOf(path), path, value, expected))
  }

  const checkFiles = (table: ParsedListener | ParsedBridge, path: Path) => {
    for (const key of tlsKeys) {
      const file = table[key]
      if (file === undefined) continue
      const setting = [...path, key]
      const trouble = readTrouble(locate(file))
      if (trouble === undefined) continue
      failures.push(new Failure('ERR_CERTIFICATE', `${sourceOf(setting)}: ${formatSetting(setting, file)}: ${trouble}`))
    }
  }

  const checkBus = ({ addresses, protocol, baud_rate_max }: Parsed['serial'][number], path: Path) => {
    if (addresses.length === 0) return
    if (protocol !== 'link') complain([...path, 'addresses'], addresses, `none, as protocol is "${protocol}"`)
    if (new Set(addresses).size < addresses.length) complain([...path, 'addresses'], addresses, 'each address once')
    if (baud_rate_max !== undefined) {
      complain([...path, 'baud_rate_max'], baud_rate_max, 'none beside addresses: a bus keeps its rate')
    }
  }

  const checkListener = (listener: ParsedListener, path: Path) => {
    const { type, bind, certificate, private_key, ca, mountpoint } = listener
    const requiresIdentity = clientCertificate(listener) === 'required'
    if ('path' in bind && type !== 'tcp') {
      complain([...path, 'bind'], formatBind(bind), `host:port, as type is "${type}"`)
    }
    if (listener.path !== undefined && !hasWebSocket(listener)) {
      complain([...path, 'path'], listener.path, `none, as type is "${type}"`)
    }
    if (!hasTls(listener)) {
      for (const key of tlsKeys) {
        if (listener[key] !== undefined) complain([...path, key], listener[key], `none, as type is "${type}"`)
      }
      if (requiresIdentity) complain([...path, 'client_certificate'], 'required', `"none", as type is "${type}"`)
    } else if (certificate === 'auto') {
      if (private_key !== undefined) complain([...path, 'private_key'], private_key, 'none beside certificate = "auto"')
      if (ca !== undefined) complain([...path, 'ca'], ca, 'none beside certificate = "auto"')
    } else {
      if (certificate === undefined)
        complain([...path, 'certificate'], undefined, `a path, or "auto", as type is "${type}"`)
      if (private_key === undefined) complain([...path, 'private_key'], undefined, 'a path beside certificate')
      if (requiresIdentity && ca === undefined) complain([...path, 'ca'], undefined, 'the CA of client certificates')
      checkFiles(listener, path)
    }
    if (mountpoint?.includes('{identity}') === true && !requiresIdentity) {
      complain([...path, 'mountpoint'], mountpoint, 'no {identity} without client_certificate = "required"')
    }
    const hasUsers = parsed.authentication.scram_users !== undefined
    if (!staysLocal(listener) && !requiresIdentity && !hasUsers && listener.allow_anonymous !== true) {
      const setting = [...path, 'bind']
      const detail = `${sourceOf(setting)}: ${formatSetting(setting, formatBind(bind))}`
      failures.push(new Failure('ERR_LISTENER_OPEN', detail))
    }
  }

  const checkBridge = (bridge: ParsedBridge, path: Path) => {
    const { address, fallback_addresses, certificate, private_key, reconnect_min_ms, reconnect_max_ms } = bridge
    if (![address, ...fallback_addresses].some(isEncrypted)) {
      for (const key of [...tlsKeys, 'server_name'] as const) {
        if (bridge[key] === undefined) continue
        complain([...path, key], bridge[key], `none, as address begins with ${address.scheme}://`)
      }
    } else {
      if ((certificate === undefined) !== (private_key === undefined)) {
        const missing = certificate === undefined ? 'certificate' : 'private_key'
        complain([...path, missing], undefined, 'certificate and private_key together, or neither')
      }
      checkFiles(bridge, path)
    }
    if (reconnect_max_ms < reconnect_min_ms) {
      complain(
        [...path, 'reconnect_max_ms'],
        reconnect_max_ms,
        `at least reconnect_min_ms, which is ${reconnect_min_ms}`,
      )
    }
    if (bridge.password !== undefined && bridge.username === undefined) {
      complain([...path, 'username'], undefined, 'a user name beside password')
    }
    for (const kind of ['out', 'in', 'both'] as const) {
      for (const [at, rule] of bridge[kind].entries()) {
        const fault = ruleFault(rule, kind)
        if (fault !== undefined) complain([...path, kind, at, fault.key], rule[fault.key], fault.expected)
      }
    }
  }

  const checkUnique = (list: string, key: string, values: readonly (string | undefined)[]) => {
    for (const [index, value] of values.entries()) {
      if (value !== undefined && values.indexOf(value) < index) {
        complain([list, index, key], value, 'one that no other block has')
      }
    }
  }

  for (const [index, listener] of parsed.listener.entries()) checkListener(listener, ['listener', index])
  for (const [index, bridge] of parsed.bridge.entries()) checkBridge(bridge, ['bridge', index])
  for (const { bridgeIndex, text } of findCircles(parsed.bridge)) {
    failures.push(new Failure('ERR_BRIDGE_LOOP', `${sourceOf(['bridge', bridgeIndex])}: ${text}`))
  }
  for (const [index, serial] of parsed.serial.entries()) checkBus(serial, ['serial', index])
  checkUnique('serial', 'name', parsed.serial.map(serialName))
  checkUnique(
    'serial',
    'path',
    parsed.serial.map((serial) => serial.path),
  )
  checkUnique(
    'bridge',
    'name',
    parsed.bridge.map((bridge) => bridge.name),
  )
  return failures
}

/** Why a file cannot be read, in words; undefined when it can. */
function readTrouble(file: string): string | undefined {
  try {
    accessSync(file, constants.R_OK)
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : 'cannot be read'
  }
}
