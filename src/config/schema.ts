/**
 * Every setting, once. From this come the types, defaults and checks of `loadSettings`, the TIDEGATE_ variables,
 * configs/reference.md and configs/schema.json. Keys are as people write them in TOML; units stand last in names.
 */
import { z } from 'zod'
import { choice, name, option, optional, type Profile, path } from './option.ts'
import { authenticationSection } from './sections/authentication.ts'
import { bridgeSection } from './sections/bridge.ts'
import { delayedSection } from './sections/delayed.ts'
import { laneSection, topicSection } from './sections/lane.ts'
import { listenerSection } from './sections/listener.ts'
import { mqttSection } from './sections/mqtt.ts'
import { queueSection } from './sections/queue.ts'
import { serialSection } from './sections/serial.ts'
import { storeSection } from './sections/store.ts'
import { sysSection } from './sections/sys.ts'

export function settingsSchema(profile: Profile) {
  return z.strictObject({
    name: optional(name(), 'the host name', 'What this node is called.'),
    data_dir: option(
      path(),
      { edge: 'data/edge', cloud: 'data/cloud' }[profile],
      'Where messages, sessions and certificates are kept. Relative to the working directory.',
    ),
    log: option(
      z.strictObject({
        level: option(
          choice(['error', 'warn', 'info', 'debug']),
          'info',
          'The least important lines that are written.',
        ),
      }),
      {},
      'What is told while running.',
    ),
    mqtt: option(mqttSection(profile), {}, 'What a client may do and how much of it.'),
    store: option(storeSection(profile), {}, 'How safe acknowledged messages are, and how many may pile up.'),
    delayed: option(
      delayedSection(profile),
      {},
      'Messages for later: what is published to $delayed/{seconds}/{topic} reaches {topic} that much later. Restarts and a clock that jumps change nothing.',
    ),
    queue: option(
      queueSection(),
      {},
      'What may wait for one client with a durable session that is away or slow. The limits of [lane] and [store] hold for all together.',
    ),
    lane: option(laneSection(), {}, 'How much of each kind of message may pile up.'),
    topic: topicSection(),
    sys: option(sysSection(), {}, 'What the broker publishes about itself.'),
    authentication: option(authenticationSection(), {}, 'How clients prove who they are, beside their certificates.'),
    listener: listenerSection(profile),
    serial: serialSection(),
    bridge: bridgeSection(),
  })
}

export type SettingsSchema = ReturnType<typeof settingsSchema>
