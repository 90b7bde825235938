import { mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { listSerialPorts } from '../../src/adapters/serial-port/list.ts'

t.test('ports are listed with what sysfs knows about them', async (t) => {
  const { folders, usb, uart } = machine(t.testdir())
  usb('ttyUSB10', { idVendor: '1a86', product: 'CH340' })
  usb('ttyUSB2', { idVendor: '0403', manufacturer: 'FTDI', serial: 'A50285BI' }, 'usb-FTDI_A50285BI-if00-port0')
  usb('ttyACM0', { idVendor: '2341', manufacturer: 'Arduino', serial: '75735' }, 'usb-Arduino_75735-if00')
  uart('ttyAMA0', '32')
  uart('ttyS0', '4')
  uart('ttyS1', '0')
  uart('tty7', '4')
  t.strictSame(await listSerialPorts(folders), [
    {
      path: join(folders.dev, 'ttyACM0'),
      byIdPath: join(folders.dev, 'serial/by-id/usb-Arduino_75735-if00'),
      manufacturer: 'Arduino',
      serialNumber: '75735',
    },
    entry(join(folders.dev, 'ttyAMA0')),
    entry(join(folders.dev, 'ttyS0')),
    {
      path: join(folders.dev, 'ttyUSB2'),
      byIdPath: join(folders.dev, 'serial/by-id/usb-FTDI_A50285BI-if00-port0'),
      manufacturer: 'FTDI',
      serialNumber: 'A50285BI',
    },
    entry(join(folders.dev, 'ttyUSB10')),
  ])
})

t.test('a machine without by-id names, sysfs or any port is no error', async (t) => {
  const folder = realpathSync(t.testdir({ dev: { ttyUSB0: '' } }))
  t.strictSame(await listSerialPorts({ dev: join(folder, 'dev'), sys: join(folder, 'absent') }), [
    entry(join(folder, 'dev/ttyUSB0')),
  ])
  t.strictSame(await listSerialPorts({ dev: join(folder, 'absent'), sys: join(folder, 'absent') }), [])
})

t.test('a by-id name whose device is gone is left out', async (t) => {
  const { folders, usb } = machine(t.testdir())
  usb('ttyUSB0', { idVendor: '0403' })
  mkdirSync(join(folders.dev, 'serial/by-id'), { recursive: true })
  symlinkSync('../../ttyUSB9', join(folders.dev, 'serial/by-id/usb-gone'))
  t.strictSame(await listSerialPorts(folders), [entry(join(folders.dev, 'ttyUSB0'))])
})

t.test('this machine is listed without opening anything', async (t) => {
  for (const port of await listSerialPorts()) t.match(port.path, /^\/dev\/tty/)
  t.pass()
})

function entry(path: string) {
  return { path, byIdPath: undefined, manufacturer: undefined, serialNumber: undefined }
}

/** /dev and /sys of a made-up machine. */
function machine(folder: string) {
  const root = realpathSync(folder)
  const folders = { dev: join(root, 'dev'), sys: join(root, 'sys') }
  const put = (path: string, content = ''): void => {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
  }
  const uart = (name: string, type: string): void => {
    put(join(folders.dev, name))
    put(join(folders.sys, 'class/tty', name, 'type'), `${type}\n`)
  }
  const usb = (name: string, attributes: Record<string, string>, byId?: string): void => {
    put(join(folders.dev, name))
    const device = join(folders.sys, 'devices/usb1', name)
    const port = join(device, '1-1:1.0', name)
    mkdirSync(port, { recursive: true })
    for (const [attribute, value] of Object.entries(attributes)) put(join(device, attribute), `${value}\n`)
    mkdirSync(join(folders.sys, 'class/tty', name), { recursive: true })
    symlinkSync(port, join(folders.sys, 'class/tty', name, 'device'))
    if (byId === undefined) return
    mkdirSync(join(folders.dev, 'serial/by-id'), { recursive: true })
    symlinkSync(`../../${name}`, join(folders.dev, 'serial/by-id', byId))
  }
  return { folders, uart, usb }
}
