/** A text file that is written in large pieces. */
import { closeSync, openSync, writeFileSync } from 'node:fs'

const charactersMax = 65_536

export class BufferedFile {
  readonly #fd: number
  #text = ''

  /** Begins it anew. @throws Error when the file cannot be made */
  constructor(path: string) {
    this.#fd = openSync(path, 'w')
  }

  write(text: string): void {
    this.#text += text
    if (this.#text.length >= charactersMax) this.#flush()
  }

  close(): void {
    this.#flush()
    closeSync(this.#fd)
  }

  #flush(): void {
    writeFileSync(this.#fd, this.#text)
    this.#text = ''
  }
}
