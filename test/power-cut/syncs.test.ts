/** Which commits wait for the disk, as the system sees it. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { temporaryFolder } from './disk.ts'
import { shimEnv } from './shim.ts'
import { readTrace } from './trace.ts'

const commitCount = 20

/** Fsyncs of a process that appends messages, each in a commit of its own. */
function syncsOf(durability: string): number {
  const folder = temporaryFolder()
  try {
    const data = join(folder, 'data')
    const trace = join(folder, 'trace')
    mkdirSync(data)
    const args = ['--import=tsx', 'test/fixtures/store-commits.ts', join(data, 'tidegate.db'), durability]
    execFileSync(process.execPath, [...args, `${commitCount}`], {
      env: { ...process.env, ...shimEnv({ folder: data, trace }) },
    })
    return readTrace(readFileSync(trace)).filter(({ kind }) => kind === 'synced').length
  } finally {
    rmSync(folder, { recursive: true })
  }
}

t.test('a commit is synced when one of its messages asks for the disk, and not otherwise', async (t) => {
  const [os, disk] = [syncsOf('os'), syncsOf('disk')]
  t.comment(`${os} and ${disk} fsyncs`)
  // The first commit that is not synced says how far its seqs go, and that is.
  t.equal(disk, os + commitCount - 1)
})
