/**
 * Faults of a scenario, done to the stations they are meant for. Line faults that overlap act together; the end of one
 * leaves the others.
 */
import { type DeviceClock, type DeviceTimer, pause } from '../clock.ts'
import type { Fault } from '../scenario/schema.ts'
import type { FaultRates } from './cable.ts'
import type { Station } from './station.ts'

/** Ends a fault; undefined for one that is over as soon as it has begun. */
export type Relief = (() => Promise<void>) | undefined

type FaultOf<Kind extends Fault['kind']> = Extract<Fault, { kind: Kind }>
export type StationFault = Exclude<Fault, FaultOf<'kill-broker' | 'subscriber-away'>>

/** A reading's worth of JSON without its end. */
const partialLine = Buffer.from('{"device":"broken off in the mid')

/** What lies on each station's line, oldest first. */
const onLine = new WeakMap<Station, FaultRates[]>()

export async function inflict(fault: StationFault, station: Station, clock: DeviceClock): Promise<Relief> {
  const { device, cable } = station
  switch (fault.kind) {
    case 'bit-errors':
      return onTheLine(station, { bitErrorRate: fault.rate })
    case 'bursts':
      return onTheLine(station, { burstRate: fault.rate, burstBytes: fault.bytes })
    case 'lost-bytes':
      return onTheLine(station, { dropRate: fault.rate })
    case 'doubled-bytes':
      return onTheLine(station, { duplicateRate: fault.rate })
    case 'garbage':
      return onTheLine(station, { garbageRate: fault.rate })
    case 'wrong-baud':
      return onTheLine(station, { baudRatio: fault.ratio })
    case 'break':
      return onTheLine(station, { stuck: 'low' })
    case 'silence':
      return onTheLine(station, { stuck: 'high' })
    case 'echo':
      if (cable === undefined) return undefined
      cable.isEchoing = true
      return async () => {
        cable.isEchoing = false
      }
    case 'brown-out':
      device.reset('brown-out')
      return undefined
    case 'reset-loop':
      return again(clock, fault.every_ms, () => device.reset('brown-out'))
    case 'hang':
      device.loop.hang()
      return undefined
    case 'busy':
      return again(clock, fault.every_ms, () => device.loop.block(fault.busy_ms))
    case 'partial-line':
      device.babble(partialLine)
      return undefined
    case 'giant-line':
      device.babble(Buffer.alloc(fault.bytes, 'x'))
      return undefined
    case 'unplug':
      await station.unplug()
      return () => station.plugIn()
    case 'replug-storm':
      return replugAgain(clock, fault.every_ms, station)
  }
}

/** How a fault is told to people. */
export function describeFault(fault: Fault): string {
  const { kind, at_ms, for_ms, ...rest } = fault
  const { group, devices, ...numbers } = { group: undefined, devices: undefined, ...rest }
  const details = Object.entries(numbers).map(([name, value]) => `${name} ${value}`)
  const whom = kind === 'kill-broker' ? [] : [`${devices ?? 'all'} of ${group ?? 'all groups'}`]
  const howLong = for_ms === undefined ? [] : [`for ${for_ms / 1000} s`]
  return `${kind}: ${[...whom, ...details, ...howLong].join(', ')}`
}

function onTheLine(station: Station, rates: FaultRates): Relief {
  const { cable } = station
  if (cable === undefined) return undefined
  const active = onLine.get(station) ?? []
  onLine.set(station, active)
  const apply = () => cable.fault(active.length === 0 ? undefined : Object.assign({}, ...active))
  active.push(rates)
  apply()
  return async () => {
    active.splice(active.indexOf(rates), 1)
    apply()
  }
}

function again(clock: DeviceClock, everyMs: number, act: () => void): Relief {
  let timer: DeviceTimer | undefined
  const beat = () => {
    timer = clock.after(everyMs, beat)
    act()
  }
  beat()
  return async () => timer?.cancel()
}

/** A device that is taken and found again and again; it ends plugged in. */
function replugAgain(clock: DeviceClock, everyMs: number, station: Station): Relief {
  let isOver = false
  const storm = (async () => {
    while (!isOver) {
      await station.unplug()
      await pause(clock, everyMs / 2)
      await station.plugIn()
      await pause(clock, everyMs / 2)
    }
  })()
  return () => {
    isOver = true
    return storm
  }
}
