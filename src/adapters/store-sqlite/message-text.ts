/** One message as text, where it stands inside a JSON record: packed (packed-messages.ts), its bytes in Base64. */
import type { Publish } from '../../protocol/packets/publish.ts'
import { MessagePacker, PackedMessages } from './packed-messages.ts'

/** Of a head, as it goes in (packed-messages.ts). */
const publisherColumn = 6

export interface MessageText {
  readonly heads: string
  /** Base64. */
  readonly bytes: string
}

export function encodeMessage(message: Publish): MessageText {
  const packer = new MessagePacker()
  packer.add(message)
  const { heads, bytes } = packer.take()
  return { heads: heads.toString(), bytes: bytes.toString('base64') }
}

/** @throws Failure ERR_STORE_READ */
export function decodeMessage(text: MessageText): Publish {
  const [head] = JSON.parse(text.heads) as [unknown[]]
  const columns = head.slice(0, publisherColumn + 1).map((value) => [value])
  const heads = JSON.stringify([...columns, [null], [null]])
  return new PackedMessages({ heads, bytes: Buffer.from(text.bytes, 'base64') }).at(0).publish
}
