/** What of the machine matters to the broker: its disk, its clock, its serial ports, its certificates. */
import { X509Certificate } from 'node:crypto'
import { accessSync, constants, existsSync, readFileSync, statfsSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Settings, safestDurability } from '../../config/settings.ts'
import { bytesText, durationText, type Finding } from './finding.ts'

/** `statfs` of Linux says what a file system is by a number. */
const fileSystems: Readonly<Record<number, { readonly name: string; readonly warning?: string }>> = {
  61267: { name: 'ext4' },
  1481003842: { name: 'xfs' },
  2435016766: { name: 'btrfs' },
  4076150800: { name: 'f2fs' },
  801189825: { name: 'zfs' },
  16914836: { name: 'tmpfs', warning: 'it is in memory, and empty after a restart of the machine' },
  2240043254: { name: 'ramfs', warning: 'it is in memory, and empty after a restart of the machine' },
  2035054128: {
    name: 'overlay',
    warning: 'its upper layer may be in memory or go with the container: mount a volume or a data partition there',
  },
  26985: { name: 'nfs', warning: 'locks and fsync of network file systems are not to be relied upon' },
  19780: { name: 'vfat', warning: 'it keeps neither owners nor its own consistency: use ext4 or f2fs' },
}

/** Less than this before it ends a certificate is worth a warning. */
const renewalDays = 30

/** A clock before this was never set. */
const plausibleSinceMs = Date.UTC(2025, 0, 1)

export interface Disk {
  readonly findings: readonly Finding[]
  readonly freeBytes: number
}

export function examineDisk(settings: Settings): Disk {
  const { dataDir } = settings
  const place = nearestExisting(dataDir)
  const findings: Finding[] = []
  const { type, bavail, blocks, bsize } = statfsSync(place)
  const freeBytes = bavail * bsize
  const { name, warning } = fileSystems[type] ?? { name: `file system ${type.toString(16)}` }
  findings.push(writability(dataDir, place))
  findings.push({
    topic: 'file system',
    state: warning === undefined || safestDurability(settings) === 'ram' ? 'ok' : 'warn',
    text: warning === undefined ? name : `${name}: ${warning}`,
  })
  findings.push(freeSpace(freeBytes, blocks * bsize, settings))
  return { findings, freeBytes }
}

function writability(dataDir: string, place: string): Finding {
  const topic = 'data_dir'
  const database = join(dataDir, 'tidegate.db')
  try {
    accessSync(place, constants.W_OK | constants.X_OK)
    if (existsSync(database)) accessSync(database, constants.R_OK | constants.W_OK)
  } catch {
    const owner = statSync(existsSync(database) ? database : place).uid
    const text = `${dataDir} cannot be written: it belongs to user ${owner}, this is user ${process.getuid?.()}`
    return { topic, state: 'fail', text }
  }
  return { topic, state: 'ok', text: place === dataDir ? dataDir : `${dataDir}, which is made at the first start` }
}

function freeSpace(freeBytes: number, diskBytes: number, settings: Settings): Finding {
  const { backlogBytesMax, freeBytesMin, freePercentMin } = settings.store
  const shareBytes = (diskBytes * freePercentMin) / 100
  const leastBytes = Math.max(freeBytesMin, shareBytes)
  const topic = 'free space'
  const text = bytesText(freeBytes)
  if (safestDurability(settings) === 'ram') return { topic, state: 'ok', text }
  if (freeBytes < leastBytes) {
    const setting = shareBytes > freeBytesMin ? 'free_percent_min' : 'free_bytes_min'
    return { topic, state: 'fail', text: `${text}, less than store.${setting} (${bytesText(leastBytes)})` }
  }
  if (freeBytes - leastBytes < backlogBytesMax) {
    return { topic, state: 'warn', text: `${text}, less than store.backlog_bytes_max (${bytesText(backlogBytesMax)})` }
  }
  return { topic, state: 'ok', text }
}

/** @param wallMs the time as this machine has it */
export function examineClock(wallMs: number): Finding[] {
  const topic = 'clock'
  if (wallMs < plausibleSinceMs) {
    const text = `it stands at ${new Date(wallMs).toISOString()}: certificates will not be accepted before it is set`
    return [{ topic, state: 'fail', text }]
  }
  const findings: Finding[] = [{ topic, state: 'ok', text: new Date(wallMs).toISOString() }]
  if (!existsSync('/dev/rtc0')) {
    const text =
      'this machine has no clock of its own that runs without power; expiry and delays do not need one, TLS does'
    findings.push({ topic, state: 'note', text })
  }
  return findings
}

export function examineSerials({ serials }: Settings): Finding[] {
  return serials.map(({ name, path }) => {
    const topic = `serial ${name}`
    if (!existsSync(path)) return { topic, state: 'warn', text: `${path} is not there: plug it in, or correct path` }
    try {
      accessSync(path, constants.R_OK | constants.W_OK)
      return { topic, state: 'ok', text: path }
    } catch {
      return { topic, state: 'fail', text: `${path} may not be opened by this user: add it to the group dialout` }
    }
  })
}

/** @param wallMs the time as this machine has it */
export function examineCertificates(settings: Settings, wallMs: number): Finding[] {
  const files = new Set<string>()
  for (const { tls } of settings.listeners) {
    if (tls === undefined) continue
    if (tls.files === 'auto') files.add(join(settings.dataDir, 'certs', 'server.crt'))
    else for (const file of [tls.files.certificate, tls.files.ca]) if (file !== undefined) files.add(file)
  }
  for (const { tls } of settings.bridges.flatMap(({ addresses }) => addresses)) {
    for (const file of [tls?.ca, tls?.client?.certificate]) if (file !== undefined) files.add(file)
  }
  return [...files].map((file) => examineCertificate(file, wallMs))
}

function examineCertificate(file: string, wallMs: number): Finding {
  const topic = 'certificate'
  if (!existsSync(file)) return { topic, state: 'note', text: `${file} is not there yet` }
  try {
    const { validFrom, validTo } = new X509Certificate(readFileSync(file))
    const leftSeconds = (Date.parse(validTo) - wallMs) / 1000
    if (leftSeconds < 0) return { topic, state: 'fail', text: `${file} ended on ${validTo}` }
    if (Date.parse(validFrom) > wallMs) return { topic, state: 'fail', text: `${file} begins on ${validFrom}` }
    const state = leftSeconds < renewalDays * 86_400 ? 'warn' : 'ok'
    return { topic, state, text: `${file} is good for ${durationText(leftSeconds)}` }
  } catch (error) {
    return { topic, state: 'fail', text: `${file} cannot be read as a certificate: ${(error as Error).message}` }
  }
}

function nearestExisting(path: string): string {
  let place = path
  while (!existsSync(place)) place = dirname(place)
  return place
}
