/** `[[serial]]`: devices on serial lines, whether they speak MQTT or print lines. */
import { z } from 'zod'
import {
  choice,
  flag,
  name,
  option,
  optional,
  path,
  plainList,
  required,
  text,
  topicFilter,
  topicPrefix,
  wholeNumber,
} from '../option.ts'

function topicTemplate() {
  return text('a topic such as dev/{name}/{key}', /^(?!\$)([^+#\0{}]|\{(port|name|key)\})+$/)
}

function portTemplate() {
  return text('a topic filter such as dst/{name}/#', /^([^\0{}]|\{(port|name)\})+$/)
}

const serial = z.strictObject({
  name: optional(name(), 'the last part of path', 'What the device is called in logs and client ids.'),
  path: required(
    path(),
    'The device file, or rfc2217://host:port or tcp://host:port for a line at another machine. One that is absent is waited for. Names under /dev/serial/by-id stay the same when devices are plugged in another order.',
  ),
  baud_rate: option(
    wholeNumber(50, 4_000_000),
    115_200,
    'Speed of the line in bits per second, as the firmware sets it.',
  ),
  baud_rate_max: optional(
    wholeNumber(50, 4_000_000),
    'stays at baud_rate',
    'How fast a device on the serial link may be asked to go, if it can. Both ends come back to baud_rate when the faster one does not carry.',
  ),
  addresses: option(
    plainList(wholeNumber(1, 127), 'addresses from 1 to 127'),
    [],
    'For link: several devices on one pair of wires (RS-485), each with one of these addresses; they take turns. An empty list is one device without an address.',
  ),
  protocol: option(
    choice(['link', 'raw', 'lines']),
    'link',
    'What the device speaks. link: MQTT in the serial link of docs/serial-link.md; raw: MQTT as it is, for USB, which loses nothing; lines: JSON, key:value and serial2mqtt lines, for which the gateway is the MQTT client.',
  ),
  device_ids: option(
    plainList(text('a device id'), 'device ids'),
    [],
    'For link: which devices are let in, by the id that they say of themselves; an empty list lets all in. Others wait in quarantine and are named in the log.',
  ),
  publish: optional(
    plainList(topicFilter(), 'topic filters'),
    'all',
    'Topics that the device may publish to, without the mountpoint.',
  ),
  subscribe: optional(
    plainList(topicFilter(), 'topic filters'),
    'all',
    'Topics that the device may subscribe to, without the mountpoint.',
  ),
  byte_rate_max: optional(
    wholeNumber(1, 10_000_000, 'bytes'),
    'none',
    'What the device may send in a second; beyond it the device is made to wait, and where it cannot wait its messages are dropped.',
  ),
  message_rate_max: optional(
    wholeNumber(1, 1_000_000),
    'none',
    'Messages that the device may publish in a second, likewise.',
  ),
  topic: option(
    topicTemplate(),
    'dev/{name}/{key}',
    'For lines: where readings without a topic go. {name} is what the device calls itself, else the name of the port; {key} each reading by itself, and without it all of a line as JSON.',
  ),
  down: option(
    plainList(portTemplate(), 'topic filters with {name} and {port}'),
    [],
    'For lines: what is written down to the device.',
  ),
  down_line: optional(
    text('a line with {topic}, {level} or {payload}'),
    '[1,"topic","payload"] as serial2mqtt has it',
    'For lines: what a message looks like for the device; {level} is the last level of its topic.',
  ),
  will_topic: optional(
    topicTemplate(),
    'none',
    'For lines: says online while the device talks and offline when it fell silent, retained.',
  ),
  line_bytes_max: option(wholeNumber(16, 65_536, 'bytes'), 1024, 'For lines: longer ones are dropped.'),
  idle_flush_ms: option(
    wholeNumber(0, 60_000, 'milliseconds'),
    0,
    'For lines: a line without an end counts as whole after this time without a byte; 0 = never.',
  ),
  checksum: option(
    flag(),
    false,
    'For lines: take only serial2mqtt lines with a right checksum, and send such ones. Other text is still logged.',
  ),
  reset_on_open: option(flag(), false, 'Whether opening the line may reset the board, as it does with most Arduinos.'),
  mountpoint: option(
    topicPrefix(),
    '',
    'Put before every topic of the device and taken off again towards it, so that boards with the same firmware stay apart.',
  ),
})

export function serialSection() {
  return option(z.array(serial), [], 'Devices on serial lines. One block for each line.')
}
