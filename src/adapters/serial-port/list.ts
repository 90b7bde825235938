/**
 * What serial ports there are, for `tidegate serial list`. On Linux from /dev and sysfs alone: neither udev nor its
 * tools have to be there, and nothing is opened, so no device is disturbed.
 */
import { readdir, readFile, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'

export interface SerialPortEntry {
  /** `/dev/ttyUSB0`: may be another device after the next plug. */
  readonly path: string
  /** `/dev/serial/by-id/…`: stays with the device. undefined for ports that are soldered in, or without udev. */
  readonly byIdPath: string | undefined
  readonly manufacturer: string | undefined
  readonly serialNumber: string | undefined
}

/** Where to look; other places only in tests. */
export interface SystemFolders {
  readonly dev: string
  readonly sys: string
}

const portName = /^tty(USB|ACM|AMA|S)\d+$/

/** A USB interface lies this many folders below its device in sysfs at most. */
const levelsUpMax = 4

export async function listSerialPorts(
  folders: SystemFolders = { dev: '/dev', sys: '/sys' },
): Promise<readonly SerialPortEntry[]> {
  if (process.platform !== 'linux') return listWithDriver()
  const names = (await namesIn(folders.dev)).filter((name) => portName.test(name))
  const byIdPaths = await findByIdPaths(join(folders.dev, 'serial/by-id'))
  const entries: SerialPortEntry[] = []
  for (const name of names.sort(compareNumbered)) {
    const ttyFolder = join(folders.sys, 'class/tty', name)
    // The kernel makes ttyS nodes for UARTs that are not there; those have type 0.
    if ((await readLine(join(ttyFolder, 'type'))) === '0') continue
    const path = join(folders.dev, name)
    entries.push({ path, byIdPath: byIdPaths.get(path), ...(await readIdentity(ttyFolder)) })
  }
  return entries
}

async function listWithDriver(): Promise<readonly SerialPortEntry[]> {
  const { SerialPort } = await import('serialport')
  const ports = await SerialPort.list()
  return ports.map(({ path, manufacturer, serialNumber }) => ({
    path,
    byIdPath: undefined,
    manufacturer,
    serialNumber,
  }))
}

/** Device path -> by-id path. */
async function findByIdPaths(folder: string): Promise<Map<string, string>> {
  const paths = new Map<string, string>()
  for (const name of await namesIn(folder)) {
    const byIdPath = join(folder, name)
    const path = await orUndefined(realpath(byIdPath))
    if (path !== undefined) paths.set(path, byIdPath)
  }
  return paths
}

/** The USB device that a tty belongs to says who made it. */
async function readIdentity(ttyFolder: string): Promise<Pick<SerialPortEntry, 'manufacturer' | 'serialNumber'>> {
  let folder = await orUndefined(realpath(join(ttyFolder, 'device')))
  for (let level = 0; folder !== undefined && level < levelsUpMax; level++) {
    if ((await readLine(join(folder, 'idVendor'))) !== undefined) {
      return {
        manufacturer: await readLine(join(folder, 'manufacturer')),
        serialNumber: await readLine(join(folder, 'serial')),
      }
    }
    folder = dirname(folder)
  }
  return { manufacturer: undefined, serialNumber: undefined }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return (await orUndefined(readdir(folder))) ?? []
}

async function readLine(path: string): Promise<string | undefined> {
  return (await orUndefined(readFile(path, 'utf8')))?.trim()
}

/** A file that is missing, forbidden or gone meanwhile is an answer here, not a failure. */
function orUndefined<T>(attempt: Promise<T>): Promise<T | undefined> {
  return attempt.catch(() => undefined)
}

/** ttyUSB2 before ttyUSB10. */
function compareNumbered(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true })
}
