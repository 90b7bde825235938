/** How soon V8 compiles, told by V8 itself. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import t from 'tap'
import ts from 'typescript'

const source = new URL('../../src/adapters/system/tier-up.ts', import.meta.url)

/** How often a function is called until V8 has compiled it, in a process of its own. */
function callsUntilCompiled(begin: string): number {
  const { outputText } = ts.transpileModule(readFileSync(source, 'utf8'), {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 },
  })
  // Bit 4 of the status: optimized.
  const steps = `
${begin}
function sum(items) {
  let sum = 0
  for (let i = 0; i < items.length; i++) sum += items[i]
  return sum
}
const items = [1, 2]
let callCount = 0
while ((%GetOptimizationStatus(sum) & 16) === 0) {
  sum(items)
  // Compiling goes on beside; what it has made is taken over by the next call.
  if (++callCount % 50 === 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2)
}
console.log(callCount)`
  const args = ['--allow-natives-syntax', '--input-type=module', '--eval', outputText + steps]
  return Number(execFileSync(process.execPath, args, { encoding: 'utf8' }))
}

t.test('functions are compiled after fewer calls', (t) => {
  const [before, after] = [callsUntilCompiled(''), callsUntilCompiled('compileSooner()')]
  t.comment(`after ${before} calls, and after ${after}`)
  t.ok(after * 2 < before, 'less than half')
  t.end()
})

t.test('later it is as usual', (t) => {
  const [before, after] = [callsUntilCompiled(''), callsUntilCompiled('compileSooner(); compileAsUsual()')]
  t.comment(`after ${before} calls, and after ${after}`)
  t.ok(after * 2 > before && after < before * 2)
  t.end()
})

t.test('a thread that starts later does not undo it', (t) => {
  const thread = `
const { Worker } = await import('node:worker_threads')
await new Promise((resolve) => new Worker('', { eval: true }).on('exit', resolve))`
  const [before, after] = [callsUntilCompiled(''), callsUntilCompiled(`compileSooner()${thread}`)]
  t.comment(`after ${before} calls, and after ${after}`)
  t.ok(after * 2 < before, 'less than half')
  t.end()
})
