/**
 * The owner of a link for tests of links: it keeps what came, and lets a test wait for a condition instead of a time.
 * A call that comes inside a call of the link is an error, as the Link port promises.
 */
import { once } from 'node:events'
import type { Failure } from '../../src/lib/errors.ts'
import type { Acceptor, Link, LinkOwner, ListenerTraits } from '../../src/ports/transport.ts'

export class RecordingOwner implements LinkOwner {
  readonly link: Link
  readonly chunks: Buffer[] = []
  drainCount = 0
  /** One entry for each `onClosed`. */
  readonly closings: (Failure | undefined)[] = []
  /** Called with each chunk, before anybody who waits is told. */
  onChunk: (chunk: Buffer) => void = () => {}
  #isInCall = false
  readonly #changes = new EventTarget()

  constructor(link: Link) {
    this.link = link
  }

  get received(): Buffer {
    return Buffer.concat(this.chunks)
  }

  get isClosed(): boolean {
    return this.closings.length > 0
  }

  receive(chunk: Buffer): void {
    this.#check('receive')
    this.chunks.push(Buffer.from(chunk))
    this.onChunk(chunk)
    this.#tell()
  }

  onDrain(): void {
    this.#check('onDrain')
    this.drainCount++
    this.#tell()
  }

  onClosed(failure: Failure | undefined): void {
    this.#check('onClosed')
    this.closings.push(failure)
    this.#tell()
  }

  /** Calls the link the way the broker does, and watches that nothing comes back inside the call. */
  call(act: (link: Link) => void): void {
    this.#isInCall = true
    act(this.link)
    this.#isInCall = false
  }

  send(...pieces: (string | Buffer)[]): void {
    this.call((link) => link.send(pieces.map((piece) => Buffer.from(piece))))
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await once(this.#changes, 'change')
  }

  async untilClosed(): Promise<Failure | undefined> {
    await this.until(() => this.isClosed)
    return this.closings[0]
  }

  #check(name: string): void {
    if (this.#isInCall) throw new Error(`${name} came inside a call of the link`)
    if (this.isClosed) throw new Error(`${name} came after onClosed`)
  }

  #tell(): void {
    this.#changes.dispatchEvent(new Event('change'))
  }
}

/** Takes every link, and lets a test wait for the next one. */
export class RecordingAcceptor implements Acceptor {
  readonly owners: RecordingOwner[] = []
  readonly traits: ListenerTraits[] = []
  #taken = 0
  readonly #changes = new EventTarget()
  /** Called with each new owner while its link is being accepted. */
  onAccept: (owner: RecordingOwner) => void = () => {}

  accept(link: Link, traits: ListenerTraits): RecordingOwner {
    const owner = new RecordingOwner(link)
    this.owners.push(owner)
    this.traits.push(traits)
    this.onAccept(owner)
    this.#changes.dispatchEvent(new Event('change'))
    return owner
  }

  refusedCount = 0

  onRefused(): void {
    this.refusedCount++
    this.#changes.dispatchEvent(new Event('change'))
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await once(this.#changes, 'change')
  }

  async next(): Promise<RecordingOwner> {
    while (this.owners.length === this.#taken) await once(this.#changes, 'change')
    return this.owners[this.#taken++] as RecordingOwner
  }
}
