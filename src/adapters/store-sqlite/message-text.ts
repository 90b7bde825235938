/** One message as text, where it stands inside a JSON record: packed (packed-messages.ts), its bytes in Base64. */
import { must } from '../../lib/assert.ts'
import type { Publish } from '../../protocol/packets/publish.ts'
import { MessagePacker, unpackMessages } from './packed-messages.ts'

export interface MessageText {
  readonly heads: string
  /** Base64. */
  readonly bytes: string
}

export function encodeMessage(message: Publish): MessageText {
  const packer = new MessagePacker()
  packer.add(message)
  const { heads, bytes } = packer.take()
  return { heads, bytes: bytes.toString('base64') }
}

/** @throws Failure ERR_STORE_READ */
export function decodeMessage(text: MessageText): Publish {
  const [message] = unpackMessages(text.heads, Buffer.from(text.bytes, 'base64'))
  return must(message, 'message of a record').publish
}
