/** `[[bridge]]`: the way up. A durable session of this broker joined to a client of another broker. */
import { z } from 'zod'
import {
  address,
  bridgeFilter,
  bridgePrefix,
  choice,
  flag,
  listOf,
  name,
  option,
  optional,
  path,
  qos,
  required,
  text,
  wholeNumber,
} from '../option.ts'

const rule = z.strictObject({
  filter: required(
    bridgeFilter(),
    'Which topics cross, as they are named behind both prefixes. "" with both prefixes given: exactly one topic, whose names they are.',
  ),
  qos: option(qos(), 1, 'Highest QoS they are forwarded with.'),
  local_prefix: option(bridgePrefix(), '', 'What these topics begin with at this broker.'),
  remote_prefix: option(bridgePrefix(), '', 'What these topics begin with at the remote broker.'),
})

const outRule = rule.extend({
  keep: option(
    choice(['all', 'last', 'sample']),
    'all',
    'What goes up of messages that had to wait. last: of each topic the newest. sample: of each topic one in sample_seconds, and the newest. What does not go up is counted in the ledger as replaced or sampled. Messages that do not wait all go.',
  ),
  sample_seconds: option(wholeNumber(1, 86_400, 'seconds'), 60, 'For sample: the time of which one message is kept.'),
  age_seconds_max: optional(
    wholeNumber(1, 3_153_600_000, 'seconds'),
    'no limit',
    'Messages that waited longer do not go up; the ledger counts them as too_old.',
  ),
})

const bridge = z.strictObject({
  name: required(name(), 'What the bridge is called in logs. What waits for it is kept under this name, so keep it.'),
  address: required(address(), 'The remote broker. Where there are several, the one that is preferred.'),
  fallback_addresses: listOf(
    required(address(), 'A broker that may stand in.'),
    'addresses such as tls://backup.example:8883',
    'Tried in this order while the preferred one does not answer.',
  ),
  return_seconds: option(
    wholeNumber(1, 86_400, 'seconds'),
    60,
    'While another address serves, the preferred one is tried this often; when it answers, the bridge goes back to it.',
  ),
  protocol: option(
    choice(['auto', '5', '3.1.1']),
    'auto',
    'Version of MQTT that the remote broker is spoken to in. auto: 5, and 3.1.1 where that is refused.',
  ),
  username: optional(text('1 to 1024 characters', /^[^\0]{1,1024}$/), 'none', 'User name at the remote broker.'),
  password: optional(
    text('1 to 1024 characters', /^[^\0]{1,1024}$/),
    'none',
    'Its password. Better given as TIDEGATE_BRIDGE__0__PASSWORD than in the file.',
  ),
  start_type: option(
    choice(['automatic', 'lazy', 'once']),
    'automatic',
    'automatic: connected always, and again after every loss. lazy: connected when threshold messages wait, until nothing has passed for idle_timeout_seconds. once: connected at the start, and not again after a loss.',
  ),
  threshold: option(wholeNumber(1, 1_000_000), 10, 'For lazy: so many waiting messages make it connect.'),
  idle_timeout_seconds: option(
    wholeNumber(1, 86_400, 'seconds'),
    60,
    'For lazy: so long without a message, and it disconnects.',
  ),
  ca: optional(path(), 'the CAs of the system', 'For tls: PEM file with the CA of the remote broker.'),
  certificate: optional(path(), 'none', 'For tls: PEM file with the certificate this gateway shows.'),
  private_key: optional(path(), 'none', 'For tls: PEM file with its private key.'),
  server_name: optional(
    text('a host name'),
    'the host of address',
    'For tls: the name that the certificate of the remote broker must hold.',
  ),
  client_id: optional(
    text('1 to 128 characters', /^[^\0]{1,128}$/),
    'edge-<name of this node>',
    'Client identifier at the remote broker. No two gateways may share one.',
  ),
  keep_alive_seconds: option(wholeNumber(5, 65_535, 'seconds'), 60, 'A line without traffic is checked this often.'),
  reconnect_min_ms: option(
    wholeNumber(10, 3_600_000, 'milliseconds'),
    1000,
    'Shortest pause before the next attempt to connect. Pauses grow and are drawn at random.',
  ),
  reconnect_max_ms: option(wholeNumber(10, 3_600_000, 'milliseconds'), 120_000, 'Longest such pause.'),
  reconnect_spread_ms: optional(
    wholeNumber(0, 3_600_000, 'milliseconds'),
    'four times reconnect_min_ms',
    'The first pause after a loss is reconnect_min_ms and up to so much more, drawn at random: gateways that lost one cloud in the same instant come back spread over this time.',
  ),
  connect_timeout_ms: option(
    wholeNumber(500, 600_000, 'milliseconds'),
    10_000,
    'Longest time for the connection and its TLS handshake, and again for the answer to CONNECT. An attempt that began while the network was down lasts this long.',
  ),
  ack_timeout_ms: option(
    wholeNumber(100, 600_000, 'milliseconds'),
    10_000,
    'Longest wait for an answer of the remote broker; one that used to be quick is given less. Then the line counts as dead: it is closed and opened again.',
  ),
  inflight_max: option(
    wholeNumber(1, 65_535),
    1024,
    'Messages on their way up and not yet acknowledged. More fills long lines better. The remote broker may allow less.',
  ),
  rate_max: option(
    wholeNumber(0, 1_000_000),
    0,
    'Messages per second that go up at most. 0: as many as the line and the remote broker take. The broker above may ask for less.',
  ),
  probe_seconds: option(
    wholeNumber(1, 86_400, 'seconds'),
    30,
    'How often a Tidegate above is asked whether it keeps what it is given.',
  ),
  stuck_seconds: option(
    wholeNumber(2, 86_400, 'seconds'),
    30,
    'Nothing came through for so long although the line is open: it is closed and opened again.',
  ),
  delayed_holder: option(
    choice(['edge', 'cloud', 'both']),
    'edge',
    'Who holds messages for $delayed/ that go up. edge: this broker, which sends them when they are due. cloud: the remote broker, which must know $delayed/ and gets them at once with what is left of the delay; they are not published here. both: it as well as this broker, which publishes them to its own clients.',
  ),
  own_response_topics: option(
    flag(),
    false,
    'Answers to requests whose Response Topic no rule takes back come over response/{client_id}/ of the remote broker. Between Tidegates always; true: at other brokers of MQTT 5.0 too, which must let this client subscribe there.',
  ),
  notifications: option(
    flag(),
    true,
    'Tells the remote broker whether this bridge is up, below $SYS/broker/connection/ as mosquitto does.',
  ),
  lost_after_seconds: option(
    wholeNumber(0, 86_400, 'seconds'),
    30,
    'How long the remote broker waits for this bridge to come back before it tells that it is lost.',
  ),
  out: option(z.array(outRule), [{ filter: '#' }], 'What goes up.'),
  in: option(z.array(rule), [], 'What comes down.'),
  both: option(
    z.array(outRule),
    [],
    'What is on both sides: goes up, comes down, and does not come back. Rules of out and in that would send the same messages round are refused.',
  ),
})

export function bridgeSection() {
  return option(z.array(bridge), [], 'Brokers this one forwards to. One block for each.')
}
