/**
 * The smallest MQTT server behind the Acceptor port, for tests of what carries bytes to it: says yes to every CONNECT,
 * acknowledges every PUBLISH, and keeps a diary. Speaks mqtt-packet; a call inside a call of the link is an error.
 */
import { generate, type Packet, parser } from 'mqtt-packet'
import type { Failure } from '../../src/lib/errors.ts'
import type { Acceptor, Link, LinkOwner, ListenerTraits } from '../../src/ports/transport.ts'

export class MqttAcceptor implements Acceptor {
  /** `accept 1`, `connect 1 s1`, `closed 1: why` in the order they came; numbers count the links. */
  readonly diary: string[] = []
  readonly connections: MqttConnection[] = []
  /** Numbers of the readings by device, in order of arrival, with what came twice. */
  readonly readings = new Map<string, number[]>()
  /** Return code of CONNACK. */
  returnCode = 0
  /** Called with each packet before it is answered; answers true to leave it unanswered. */
  intercept: (packet: Packet, connection: MqttConnection) => boolean = () => false

  accept(link: Link, traits: ListenerTraits): MqttConnection {
    const connection = new MqttConnection(this, link, traits, this.connections.length + 1)
    this.connections.push(connection)
    this.diary.push(`accept ${connection.number}`)
    return connection
  }

  /** Readings of `device` without repeats. */
  distinctCount(device: string): number {
    return new Set(this.readings.get(device)).size
  }

  get openCount(): number {
    return this.connections.filter(({ isClosed }) => !isClosed).length
  }
}

export class MqttConnection implements LinkOwner {
  readonly number: number
  readonly link: Link
  readonly traits: ListenerTraits
  isClosed = false
  drainCount = 0
  readonly #acceptor: MqttAcceptor
  readonly #parser = parser({ protocolVersion: 4 })
  #isInCall = false

  constructor(acceptor: MqttAcceptor, link: Link, traits: ListenerTraits, number: number) {
    this.#acceptor = acceptor
    this.link = link
    this.traits = traits
    this.number = number
    this.#parser.on('packet', (packet: Packet) => this.#onPacket(packet))
    this.#parser.on('error', (error: Error) => acceptor.diary.push(`malformed ${number}: ${error.message}`))
  }

  receive(chunk: Buffer): void {
    this.#check('receive')
    this.#parser.parse(Buffer.from(chunk))
  }

  onDrain(): void {
    this.#check('onDrain')
    this.drainCount++
  }

  onClosed(failure: Failure | undefined): void {
    this.#check('onClosed')
    this.isClosed = true
    this.#acceptor.diary.push(`closed ${this.number}: ${failure?.message ?? 'as asked'}`)
  }

  /** Calls the link as the broker does, and watches that nothing comes back inside the call. */
  call(act: (link: Link) => void): void {
    this.#isInCall = true
    act(this.link)
    this.#isInCall = false
  }

  send(packet: Packet, protocolVersion = 4): void {
    this.call((link) => link.send([generate(packet, { protocolVersion })]))
  }

  #onPacket(packet: Packet): void {
    if (this.#acceptor.intercept(packet, this)) return
    if (packet.cmd === 'connect') {
      this.#acceptor.diary.push(`connect ${this.number} ${packet.clientId}`)
      this.send({ cmd: 'connack', returnCode: this.#acceptor.returnCode, sessionPresent: false })
    } else if (packet.cmd === 'publish') {
      this.#note(packet.payload.toString())
      this.send({ cmd: 'puback', messageId: packet.messageId ?? 0 })
    } else if (packet.cmd === 'pingreq') {
      this.send({ cmd: 'pingresp' })
    }
  }

  #note(payload: string): void {
    const { device, n } = JSON.parse(payload) as { device: string; n: number }
    const readings = this.#acceptor.readings.get(device) ?? []
    readings.push(n)
    this.#acceptor.readings.set(device, readings)
  }

  #check(name: string): void {
    if (this.#isInCall) throw new Error(`${name} came inside a call of the link`)
    if (this.isClosed) throw new Error(`${name} came after onClosed`)
  }
}
