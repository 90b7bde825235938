/** `[mqtt]`: what a client may do and how much of it. The limits of the broker core, one option each. */
import { z } from 'zod'
import { choice, option, optional, type Profile, text, wholeNumber } from '../option.ts'

const mebibyte = 1024 * 1024
const day = 86_400

export function mqttSection(profile: Profile) {
  return z.strictObject({
    packet_bytes_max: option(
      wholeNumber(128, 268_435_460, 'bytes'),
      mebibyte,
      'Largest packet that is accepted, header included. A larger one ends the connection.',
    ),
    inflight_max: option(
      wholeNumber(1, 65_535),
      128,
      'Messages with QoS 1 or 2 on their way to one client and not yet acknowledged. A client may ask for less with its Receive Maximum.',
    ),
    receive_maximum: option(
      wholeNumber(1, 65_535),
      1024,
      'Messages with QoS 1 or 2 that one client may have on their way to the broker. MQTT 5.0 clients are told.',
    ),
    queue_count_max: option(
      wholeNumber(1, 1_000_000),
      1000,
      'Messages that wait in memory for one connected client whose session is not durable. Beyond it new ones are dropped and counted.',
    ),
    output_bytes_max: option(
      wholeNumber(16_384, 1_073_741_824, 'bytes'),
      mebibyte,
      'Bytes on their way to one client. Beyond it QoS 0 is dropped and counted, and QoS 1 and 2 wait.',
    ),
    session_expiry_seconds_max: option(
      wholeNumber(0, 4_294_967_295, 'seconds'),
      30 * day,
      'Longest time a session is kept while its client is away, whatever the client asks for. 4294967295 = for ever.',
    ),
    session_expiry_seconds_v3: option(
      wholeNumber(0, 4_294_967_295, 'seconds'),
      7 * day,
      'The same for MQTT 3.1.1 clients with clean session off, which cannot ask for a time. Never more than session_expiry_seconds_max.',
    ),
    connect_timeout_seconds: option(
      wholeNumber(1, 600, 'seconds'),
      15,
      'A new connection that has not sent its CONNECT by then is closed.',
    ),
    keep_alive_seconds_max: option(
      wholeNumber(0, 65_535, 'seconds'),
      0,
      'Longest keep alive of a client. MQTT 5.0 clients that ask for more, or for none, are told to use this one. 0 = the wish of the client stands.',
    ),
    topic_levels_max: option(
      wholeNumber(1, 65_535),
      128,
      'Levels in a topic or topic filter, counted between slashes. Deeper ones are refused.',
    ),
    topic_alias_maximum: option(
      wholeNumber(0, 65_535),
      32,
      'Topic aliases that one MQTT 5.0 client may set, and that are set towards it if it allows as many. They save bytes on slow lines.',
    ),
    response_information: optional(
      text('a topic prefix such as reply/{client_id}/, without wildcards', /^[^+#\0]+$/),
      'none',
      'What an MQTT 5.0 client is told that asks for Response Information: by custom, the topics below which its responses belong. {client_id} stands for its client identifier.',
    ),
    server_reference: optional(
      text('one or more addresses such as other.example:1883, separated by blanks', /^\S+( \S+)*$/),
      'none',
      'Where clients are to go instead of here. MQTT 5.0 clients are told; older ones are refused or cut off without it.',
    ),
    server_reference_use: option(
      choice(['shutdown', 'temporary', 'permanent']),
      'shutdown',
      'When clients are sent to server_reference: "shutdown" those who are connected when the broker stops, "temporary" everybody who connects (reason code 0x9C), "permanent" the same for good (0x9D).',
    ),
    shared_subscription_strategy: option(
      choice([
        'random',
        'round_robin',
        'round_robin_per_group',
        'sticky',
        'local',
        'hash_clientid',
        'hash_topic',
        'least_inflight',
      ]),
      'round_robin',
      'Which member of a $share or $queue group gets a message: "round_robin" goes round for each publisher, "round_robin_per_group" for all together, "sticky" stays with one member, "hash_clientid" and "hash_topic" go by the publisher and by the topic, "local" prefers members on the same node. Members that are away or full are passed over.',
    ),
    retained_count_max: option(
      wholeNumber(0, 100_000_000),
      { edge: 10_000, cloud: 1_000_000 }[profile],
      'Retained messages in all. Beyond it a new topic is not retained, which is counted. 0: nothing is retained, and MQTT 5.0 clients are told so.',
    ),
    retained_payload_bytes_max: option(
      wholeNumber(0, 268_435_455, 'bytes'),
      mebibyte,
      'Payload bytes of one retained message. A larger one is delivered and not retained, which is counted.',
    ),
    retained_bytes_max: option(
      wholeNumber(0, 1_099_511_627_776, 'bytes'),
      { edge: 16, cloud: 256 }[profile] * mebibyte,
      'Payload bytes of all retained messages together, which are held in memory. Beyond it a new one is not retained, which is counted.',
    ),
    retained_messages_per_second_max: optional(
      wholeNumber(1, 10_000_000),
      'as many as they take',
      'Retained messages that new subscriptions of all clients together are sent in one second. The others come later, in turn; none is dropped. Also without a limit they come in slices, between which everybody else is served.',
    ),
  })
}
