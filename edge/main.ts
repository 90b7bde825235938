/** What runs on a gateway, top to bottom: one broker between serial lines, local clients and the way up. */
import { listenerPolicy } from '../src/adapters/auth-listener/policy.ts'
import { clockQuality } from '../src/adapters/system/clock-quality.ts'
import { systemRandom } from '../src/adapters/system/random.ts'
import { Fleet } from '../src/bridge/fleet.ts'
import { Marks } from '../src/bridge/marks.ts'
import { GatewayReceiver } from '../src/bridge/receiver.ts'
import { Broker } from '../src/broker/broker.ts'
import type { SerialLineSettings, Settings } from '../src/config/settings.ts'
import { SerialListener } from '../src/gateway/serial-listener.ts'
import { authenticationMethods } from '../src/node/authentication.ts'
import { BridgeSet } from '../src/node/bridges.ts'
import { brokerSettings } from '../src/node/broker-settings.ts'
import { brokerRoutes, openControl, serialRoutes } from '../src/node/control.ts'
import { Listeners } from '../src/node/listeners.ts'
import { RunningNode } from '../src/node/running-node.ts'
import { serialDriver } from '../src/node/serial-drivers.ts'
import { openStorage } from '../src/node/storage.ts'
import type { RootLog } from '../src/ports/log.ts'
import type { ListenerTraits } from '../src/ports/transport.ts'

/** Rejects with a Failure when the world does not let it start. */
export async function runEdge(settings: Settings, log: RootLog): Promise<RunningNode> {
  const { clock, store } = await openStorage(settings, log)
  try {
    const marks = new Marks(store.marks)
    const methods = await authenticationMethods(settings, systemRandom)
    const receiver = new GatewayReceiver(marks, clock)
    const broker = new Broker({
      settings: brokerSettings(settings, '$edge/loss'),
      clock,
      random: systemRandom,
      log,
      store,
      authenticator: listenerPolicy,
      authorizer: listenerPolicy,
      authenticationMethods: methods.all,
      gate: receiver,
    })
    const epoch = await broker.load((key, mark) => marks.restore(key, mark))
    const fleet = settings.listeners.some(({ gateways }) => gateways)
      ? new Fleet({ local: broker, alarms: broker.alarms, marks, clock, log })
      : undefined
    fleet?.start()
    receiver.onGap = (gap) => fleet?.onGap(gap)
    const bridges = await BridgeSet.make(settings, {
      local: broker,
      alarms: broker.alarms,
      marks,
      epoch,
      clock,
      random: systemRandom,
      log,
    })
    const driver = serialDriver()
    const serialParts = {
      driver,
      acceptor: broker,
      clock,
      random: systemRandom,
      log: log.child({ part: 'serial' }),
      clockQuality,
      voice: broker.voice,
    }
    const serials = settings.serials.map((line) => new SerialListener(line, serialTraits(line), serialParts))
    const listeners = await Listeners.open(settings, broker, log)
    const routes = [...brokerRoutes({ settings, broker, store, bridges, fleet }), ...serialRoutes(serials)]
    const control = await openControl(settings, routes, log)
    return new RunningNode({ settings, log, store, broker, control, listeners, methods, bridges, serials })
  } catch (error) {
    await store.close()
    throw error
  }
}

/** Whoever holds the wire is trusted as far as the mountpoint reaches. */
function serialTraits({ name, mountpoint, access }: SerialLineSettings): ListenerTraits {
  const anybody = { requireIdentity: false, allowAnonymous: true, acceptsGateways: false }
  return { name: `serial ${name}`, mountpoint, access, ...anybody }
}
