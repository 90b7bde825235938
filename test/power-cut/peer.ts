/** A client on a codec that is not ours. It never connects again, and acknowledges everything. */
import { connect, type Socket } from 'node:net'
import mqttPacket, { type Packet } from 'mqtt-packet'
import { bridgeProperty } from '../../src/ports/gateway-topics.ts'
import type { Durability } from '../../src/ports/store.ts'

export class Peer {
  readonly #socket: Socket
  readonly #version: 4 | 5
  readonly #open = new Set<number>()
  /** Reason code by packet id, of what was answered. */
  readonly answers = new Map<number, number>()
  readonly received: { topic: string; payload: string }[] = []
  #onPacket: () => void = () => undefined
  #suback = false

  private constructor(socket: Socket, version: 4 | 5) {
    this.#socket = socket
    this.#version = version
  }

  /** Resolves once it is let in, with the session it had. @param isBridge the broker numbers what it sends; in 5.0 */
  static async connect(port: number, clientId: string, version: 4 | 5 = 4, isBridge = false): Promise<Peer> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    const peer = new Peer(socket, version)
    const parser = mqttPacket.parser({ protocolVersion: version })
    let isOpen = false
    parser.on('packet', (packet) => {
      if (packet.cmd === 'connack') isOpen = true
      else peer.#receive(packet)
      peer.#onPacket()
    })
    socket.on('data', (chunk) => parser.parse(chunk))
    socket.on('error', () => undefined)
    peer.#send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: version,
      clean: false,
      clientId,
      keepalive: 0,
      ...(version === 5
        ? {
            properties: {
              sessionExpiryInterval: 3600,
              ...(isBridge ? { userProperties: { [bridgeProperty]: '1' } } : {}),
            },
          }
        : {}),
    })
    await peer.until(() => isOpen)
    return peer
  }

  async subscribe(topic: string, qos: 0 | 1 | 2): Promise<void> {
    this.#send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos }] })
    await this.until(() => this.#suback)
  }

  /** A message that says its number; some are QoS 2, some are retained. */
  publishNumber(number: number, payloadBytes: number): void {
    this.#open.add(number)
    this.#send({
      cmd: 'publish',
      topic: topicOf(number),
      payload: `${number} `.padEnd(payloadBytes, '.'),
      qos: qosOf(number),
      retain: isRetained(number),
      dup: false,
      messageId: number,
    })
  }

  publish(topic: string, payload: string, qos: 0 | 1, messageId = 0, retain = false): void {
    this.#send({ cmd: 'publish', topic, payload, qos, retain, dup: false, ...(qos > 0 ? { messageId } : {}) })
  }

  /** Everything published is acknowledged. */
  settled(): Promise<void> {
    return this.until(() => this.#open.size === 0)
  }

  /** Rejects when the connection ends before. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const onClose = (): void => reject(new Error('the connection ended'))
      this.#socket.once('close', onClose)
      this.#onPacket = () => {
        if (!condition()) return
        this.#socket.off('close', onClose)
        resolve()
      }
    })
  }

  /** Without DISCONNECT. */
  close(): void {
    this.#socket.removeAllListeners('close')
    this.#socket.destroy()
  }

  #receive(packet: Packet): void {
    switch (packet.cmd) {
      case 'suback':
        this.#suback = true
        return
      case 'puback':
      case 'pubcomp':
        this.#open.delete(packet.messageId ?? 0)
        this.answers.set(packet.messageId ?? 0, packet.reasonCode ?? 0)
        return
      case 'pubrec':
        this.#send({ cmd: 'pubrel', messageId: packet.messageId ?? 0 })
        return
      case 'pubrel':
        this.#send({ cmd: 'pubcomp', messageId: packet.messageId ?? 0 })
        return
      case 'publish':
        this.received.push({ topic: packet.topic, payload: packet.payload.toString() })
        if (packet.qos === 1) this.#send({ cmd: 'puback', messageId: packet.messageId ?? 0 })
        if (packet.qos === 2) this.#send({ cmd: 'pubrec', messageId: packet.messageId ?? 0 })
        return
      case 'disconnect':
        return
      default:
        throw new Error(`did not expect ${packet.cmd}`)
    }
  }

  #send(packet: Packet): void {
    this.#socket.write(mqttPacket.generate(packet, { protocolVersion: this.#version }))
  }
}

export function qosOf(number: number): 1 | 2 {
  return number % 3 === 0 && durabilityOf(number) === 'disk' ? 2 : 1
}

/** One of four topics that retain, the plain one, or one of two that `durabilityRules` are about. */
export function topicOf(number: number): string {
  const durability = durabilityOf(number)
  if (durability !== 'disk') return durability
  return isRetained(number) ? `kept/${number % 20}` : 'plain'
}

export function isRetained(number: number): boolean {
  return number % 20 < 4
}

/** What an acknowledged message is to survive. */
export function durabilityOf(number: number): Durability {
  if (number % 20 < 10) return 'disk'
  return number % 20 < 16 ? 'os' : 'ram'
}

/** For the settings of the broker. */
export const durabilityRules = (['os', 'ram'] as const)
  .map((each) => `[[topic]]\nfilter = "${each}"\nlane = "event"\ndurability = "${each}"\n`)
  .join('')
