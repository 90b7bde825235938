import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import t from 'tap'
import ts from 'typescript'

const source = new URL('../../src/adapters/system/young-generation.ts', import.meta.url)

/** In a process of its own, which has not loaded as much as this one: prints how much room there was at each step. */
const steps = `
/** Objects that are still in use when the next collections come: what makes V8 think that it needs more room. */
function surviveMany() {
  const kept = []
  for (let i = 0; i < 300_000; i++) kept.push([i, i, i, i, i, i, i, i])
  return kept.length
}
const rooms = {}
const young = new YoungGeneration()
// The second half is there from the first collection on.
rooms.first = 2 * youngBytes()
surviveMany()
rooms.started = youngBytes()
young.follow(0)
surviveMany()
rooms.silent = youngBytes()
young.follow(1e9)
surviveMany()
rooms.busy = youngBytes()
young.follow(2e9)
rooms.large = youngBytes()
surviveMany()
rooms.stillBusy = youngBytes()
console.log(JSON.stringify(rooms))`

t.test('the young generation grows with messages, and not because many objects stay', (t) => {
  const { outputText } = ts.transpileModule(readFileSync(source, 'utf8'), {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 },
  })
  const args = ['--input-type=module', '--eval', outputText + steps]
  const rooms = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }))
  t.comment(JSON.stringify(rooms))
  t.ok(rooms.started <= rooms.first, 'held from the start')
  t.equal(rooms.silent, rooms.started, 'held while no message comes')
  t.ok(rooms.busy > rooms.first, 'grows under load')
  t.equal(rooms.stillBusy, rooms.large, 'but not beyond what is enough')
  t.end()
})
