/**
 * Plain JSON objects. `{"topic":"a/b","message":…}` names its topic, also as serial2mqtt writes it with `"cmd"`; any
 * other object holds readings: one message for each, or the whole object when the port's template has no `{key}`.
 */
import type { Decoded } from './adapter.ts'
import { isFlag, isQos, payloadOf } from './json-array.ts'

/** The fields with a meaning; any other is a reading. */
export interface ObjectLine {
  readonly topic?: unknown
  readonly cmd?: unknown
  readonly message?: unknown
  readonly payload?: unknown
  readonly qos?: unknown
  readonly retain?: unknown
  readonly retained?: unknown
  readonly [field: string]: unknown
}

/** Which field of an object says whose readings these are. */
const nameFields = ['name', 'device', 'id']

export function decodeObject(line: Buffer, object: ObjectLine, hasKeys: boolean): readonly Decoded[] {
  if (typeof object.topic === 'string') return [decodeAddressed(line, object.topic, object)]
  const nameField = nameFields.find((field) => isName(object[field]))
  const name: Record<string, string> = nameField === undefined ? {} : { name: String(object[nameField]) }
  if (!hasKeys) return [{ kind: 'value', variables: name, payload: Buffer.from(line) }]
  return Object.entries(object)
    .filter(([key]) => key !== nameField)
    .map(([key, value]) => ({ kind: 'value', variables: { ...name, key }, payload: payloadOf(value) }))
}

function decodeAddressed(line: Buffer, topic: string, object: ObjectLine): Decoded {
  if (object.cmd === 'MQTT-SUB') return { kind: 'subscribe', topicFilter: topic }
  const { message = object.payload, qos = 0, retain = object.retained ?? false } = object
  if (message === undefined || !isQos(qos) || !isFlag(retain)) {
    return { kind: 'fault', fault: 'grammar', bytes: Buffer.from(line) }
  }
  return { kind: 'message', topic, payload: payloadOf(message), qos, retain: Boolean(retain) }
}

function isName(value: unknown): boolean {
  return (typeof value === 'string' && value !== '') || Number.isInteger(value)
}
