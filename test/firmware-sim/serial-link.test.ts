/** The device's end of the serial link alone, in virtual time; the test is the gateway. */
import t from 'tap'
import { Field } from '../../firmware-sim/device-hello.ts'
import { Flag, fromWire, littleEndian, numberField, Type, toFields, toWire } from '../../firmware-sim/link-codec.ts'
import { DeviceLink } from '../../firmware-sim/serial-link.ts'
import { must } from '../../src/lib/assert.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

const startRate = 115_200
const raisedRate = 250_000

class Bench {
  readonly clock = new VirtualClock()
  readonly device: DeviceLink
  #written: Buffer[] = []

  constructor() {
    const write = (bytes: Buffer) => this.#written.push(bytes)
    const owner = { write, onUp: () => {}, onBytes: () => {}, onDown: () => {} }
    const extras = { baudRates: [raisedRate] }
    this.device = new DeviceLink('s1', startRate, owner, this.clock, new SeededRandom(1), extras)
  }

  /** The gateway answers the RST of the device. */
  open(): void {
    this.device.powerOn('power-on')
    const reset = must(fromWire(must(this.#written.pop(), 'RST').subarray(1, -1)), 'frame')
    const conversation = must(numberField(reset.payload, Field.conversation), 'conversation')
    this.hear(
      Type.rstAck,
      toFields([
        [Field.role, littleEndian(1, 1)],
        [Field.conversation, littleEndian(conversation, 4)],
      ]),
    )
  }

  hear(type: number, payload: Buffer): void {
    this.device.receive(toWire({ type, flags: Flag.host, seq: 0, ack: 0, payload }))
  }

  /** The frames since the last call, by name; an ACK with its number. */
  takeWritten(): string {
    const names = this.#written.splice(0).map((wire) => {
      const { type, ack } = must(fromWire(wire.subarray(1, -1)), 'frame')
      const [name = `${type}`] = Object.entries(Type).find(([, number]) => number === type) ?? []
      return type === Type.ack ? `ACK ${ack}` : name.toUpperCase()
    })
    return names.join()
  }
}

const words = {
  LOG: ({ device }: Bench) => device.log('hot'),
  TIME: ({ device }: Bench) => device.askTime(),
  BAUD: (end: Bench) => end.hear(Type.baud, littleEndian(raisedRate, 4)),
}

for (const [name, say] of Object.entries(words)) {
  t.test(`${name}, of which nobody reads the number, does not take along an acknowledgement`, async (t) => {
    const end = new Bench()
    end.open()
    end.hear(Type.data, Buffer.from('a'))
    end.clock.advanceMs(10)
    say(end)
    end.clock.advanceMs(9)
    t.equal(end.takeWritten(), name)
    end.clock.advanceMs(1)
    t.equal(end.takeWritten(), 'ACK 1')
  })
}
