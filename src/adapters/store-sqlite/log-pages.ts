/**
 * What was read of the log's file lately, in pages. They are shared by all who read, so sessions that come back together
 * read the file once, and a session that takes a few messages at a time reads each page once. The pages behind the
 * one that is being used are read ahead, so that nobody waits for the disk.
 *
 * Invariant: a page holds every message of its lane from `firstSeq` to `lastSeq` that was kept when it was read.
 */
import type { Failure } from '../../lib/errors.ts'
import type { Lane } from '../../ports/lane.ts'
import type { Seq } from '../../ports/store.ts'
import type { PackedMessages } from './packed-messages.ts'

/** Of all pages together; one page is kept whatever it weighs. */
const weightMax = 8 * 1024 * 1024
/** What a message takes in memory beside its bytes. */
const messageWeight = 80

export interface LogPage {
  /** undefined = all lanes. */
  readonly lane: Lane | undefined
  readonly firstSeq: Seq
  readonly lastSeq: Seq
  /** At least one. */
  readonly messages: PackedMessages
}

export type MessagesAnswer = (messages: PackedMessages | undefined, failure: Failure | undefined) => void
/** Neither page nor failure: there is nothing from there on. */
export type PageAnswer = (page: LogPage | undefined, failure: Failure | undefined) => void

interface Load {
  readonly lane: Lane | undefined
  readonly firstSeq: Seq
  readonly answers: PageAnswer[]
}

export class LogPages {
  readonly #readFile: (lane: Lane | undefined, from: Seq, answer: MessagesAnswer) => void
  /** The one used last at the end. */
  #pages: LogPage[] = []
  #weight = 0
  #loads: Load[] = []

  /** @param readFile answers later, with some messages of the lane from `from` on */
  constructor(readFile: (lane: Lane | undefined, from: Seq, answer: MessagesAnswer) => void) {
    this.#readFile = readFile
  }

  /** The page in memory that holds `seq`. */
  find(lane: Lane | undefined, seq: Seq): LogPage | undefined {
    const pages = this.#pages
    for (let i = pages.length - 1; i >= 0; i--) {
      const page = pages[i] as LogPage
      if (page.lane !== lane || seq < page.firstSeq || seq > page.lastSeq) continue
      if (i < pages.length - 1) pages.push(...pages.splice(i, 1))
      return page
    }
    return undefined
  }

  /** Reads the page that begins with `seq`, once for all who ask for it meanwhile. Answers later. */
  load(lane: Lane | undefined, seq: Seq, answer: PageAnswer): void {
    const underWay = this.#loading(lane, seq)
    if (underWay !== undefined) underWay.answers.push(answer)
    else this.#load({ lane, firstSeq: seq, answers: [answer] })
  }

  /** Somebody will ask for `seq` soon. @returns the page that holds it, when it is here */
  readAhead(lane: Lane | undefined, seq: Seq): LogPage | undefined {
    const page = this.#pages.find((each) => each.lane === lane && seq >= each.firstSeq && seq <= each.lastSeq)
    if (page === undefined && this.#loading(lane, seq) === undefined) this.#load({ lane, firstSeq: seq, answers: [] })
    return page
  }

  /**
   * Somebody has read `page` to its end. Lanes are read by bridges, seldom by two, and what is forgotten before the
   * next collection costs no memory; other pages stay for sessions that come back together.
   */
  passed(page: LogPage): void {
    if (page.lane !== undefined) this.keep((other) => other !== page)
  }

  /** Forgets the pages that `isNeeded` says no to. */
  keep(isNeeded: (page: LogPage) => boolean): void {
    if (this.#pages.every(isNeeded)) return
    this.#pages = this.#pages.filter(isNeeded)
    this.#weight = this.#pages.reduce((sum, page) => sum + weightOf(page), 0)
  }

  #loading(lane: Lane | undefined, seq: Seq): Load | undefined {
    return this.#loads.find((load) => load.lane === lane && load.firstSeq === seq)
  }

  #load(load: Load): void {
    const { lane, firstSeq, answers } = load
    this.#loads.push(load)
    this.#readFile(lane, firstSeq, (messages, failure) => {
      this.#loads = this.#loads.filter((other) => other !== load)
      let page: LogPage | undefined
      if (messages !== undefined && messages.count > 0) {
        page = { lane, firstSeq, lastSeq: messages.keyAt(messages.count - 1), messages }
        this.#add(page)
      }
      for (const answer of answers) answer(page, failure)
    })
  }

  #add(page: LogPage): void {
    this.#pages.push(page)
    this.#weight += weightOf(page)
    while (this.#weight > weightMax && this.#pages.length > 1) this.#weight -= weightOf(this.#pages.shift() as LogPage)
  }
}

function weightOf({ messages }: LogPage): number {
  return messages.byteCount + messages.count * messageWeight
}
