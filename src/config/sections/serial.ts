/** `[[serial]]`: devices on serial lines that speak MQTT inside Tidegate's serial link. */
import { z } from 'zod'
import { flag, name, option, optional, path, required, topicPrefix, wholeNumber } from '../option.ts'

const serial = z.strictObject({
  name: optional(name(), 'the last part of path', 'What the device is called in logs and client ids.'),
  path: required(
    path(),
    'The device file. One that is absent is waited for. Names under /dev/serial/by-id stay the same when devices are plugged in another order.',
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
