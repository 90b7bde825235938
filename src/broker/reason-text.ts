/** What a refusal of one packet is told as in words, to clients that want words (MQTT 5.0 §3.1.2.11.7). */
import { ReasonCode } from '../protocol/reason.ts'

const texts = new Map<ReasonCode, string>([
  [ReasonCode.notAuthorized, 'the rules of this broker do not allow the topic'],
  [ReasonCode.quotaExceeded, 'the broker has no room for it at the moment'],
  [ReasonCode.topicFilterInvalid, 'a topic filter is not valid here or has too many levels'],
  [ReasonCode.topicNameInvalid, 'the topic is not valid here'],
])

/** undefined for what needs no words. */
export function reasonText(code: ReasonCode): string | undefined {
  return texts.get(code)
}
