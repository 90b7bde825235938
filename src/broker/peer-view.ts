/** A gateway's connection for those who talk about its bridge (ports/peer.ts): its topics, its rights, its line. */
import type { Principal } from '../ports/auth.ts'
import type { PeerLink } from '../ports/peer.ts'
import type { RetainedTopic } from '../ports/retained.ts'
import { crossingProperties } from '../protocol/crossing.ts'
import { Publish } from '../protocol/packets/publish.ts'
import { isValidTopicFilter } from '../protocol/topic.ts'
import type { Core } from './core.ts'
import type { Mount } from './mount.ts'
import type { Outbox } from './outbox.ts'

export class PeerView implements PeerLink {
  readonly #core: Core
  readonly #principal: Principal
  readonly #mount: Mount
  readonly #outbox: Outbox

  constructor(core: Core, principal: Principal, mount: Mount, outbox: Outbox) {
    this.#core = core
    this.#principal = principal
    this.#mount = mount
    this.#outbox = outbox
  }

  get canTake(): boolean {
    return this.#outbox.canTake
  }

  *retained(topicFilter: string): Generator<RetainedTopic | undefined> {
    const { authorizer, clock, retained } = this.#core
    const { prefix } = this.#mount
    const filter = prefix + topicFilter
    if (!isValidTopicFilter(filter) || !authorizer.maySubscribe(this.#principal, filter)) return
    const nowMs = clock.nowMs()
    for (const found of retained.history(filter)) {
      const isOver = (found?.message?.expiresAtMs ?? Number.POSITIVE_INFINITY) <= nowMs
      yield found && !isOver ? { ...found, topic: found.topic.slice(prefix.length) } : undefined
    }
  }

  sendRetained(topic: string): void {
    const { authorizer, clock, retained } = this.#core
    const mounted = this.#mount.prefix + topic
    if (/[+#]/.test(mounted) || !authorizer.maySubscribe(this.#principal, mounted)) return
    retained.match(mounted, (message) => {
      if (message.expiresAtMs <= clock.nowMs()) return
      const extra = crossingProperties(message.qos, 0, message.changedAtMs)
      this.#outbox.sendPublish(message, 0, true, false, 0, undefined, extra)
    })
  }

  tell(topic: string, payload: string): void {
    const message = Publish.create({ topic: topic.replace('$bridge/', `$bridge/${this.#mount.gateway}/`), payload })
    this.#outbox.sendPublish(message, 0, false, false, 0, undefined, undefined)
  }
}
