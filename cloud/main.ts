/** What runs in the cloud, top to bottom: one broker that gateways come up to. */
import { listenerPolicy } from '../src/adapters/auth-listener/policy.ts'
import { systemRandom } from '../src/adapters/system/random.ts'
import { Fleet } from '../src/bridge/fleet.ts'
import { Marks } from '../src/bridge/marks.ts'
import { GatewayReceiver } from '../src/bridge/receiver.ts'
import { Broker } from '../src/broker/broker.ts'
import type { Settings } from '../src/config/settings.ts'
import { Failure } from '../src/lib/errors.ts'
import { authenticationMethods } from '../src/node/authentication.ts'
import { BridgeSet } from '../src/node/bridges.ts'
import { brokerSettings } from '../src/node/broker-settings.ts'
import { brokerRoutes, openControl } from '../src/node/control.ts'
import { Listeners } from '../src/node/listeners.ts'
import { RunningNode } from '../src/node/running-node.ts'
import { openStorage } from '../src/node/storage.ts'
import type { RootLog } from '../src/ports/log.ts'

/** Rejects with a Failure when the world does not let it start. */
export async function runCloud(settings: Settings, log: RootLog): Promise<RunningNode> {
  if (settings.serials.length > 0) throw new Failure('ERR_CONFIG_VALUE', '[[serial]] belongs to the edge profile')
  const { clock, store } = await openStorage(settings, log)
  try {
    const marks = new Marks(store.marks)
    const methods = await authenticationMethods(settings, systemRandom)
    const receiver = new GatewayReceiver(marks, clock)
    const broker = new Broker({
      settings: brokerSettings(settings, '$fleet/loss'),
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
    const listeners = await Listeners.open(settings, broker, log)
    const control = await openControl(settings, brokerRoutes({ settings, broker, store, bridges, fleet }), log)
    return new RunningNode({ settings, log, store, broker, control, listeners, methods, bridges, serials: [] })
  } catch (error) {
    await store.close()
    throw error
  }
}
