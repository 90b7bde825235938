/** Which version this is, as the package says it. */
import { existsSync, readFileSync } from 'node:fs'

/** The build lies one folder deeper than the source. */
export function packageVersion(): string {
  const file = ['../../../package.json', '../../../../package.json']
    .map((path) => new URL(path, import.meta.url))
    .find((url) => existsSync(url))
  return file === undefined ? 'unknown' : (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}
