/**
 * The life of a broker process, the same for every profile:
 *
 *   start --SIGHUP--> reload (again and again) --SIGTERM, SIGINT--> stop --> exit 0
 *
 * The log says 'started' once it listens and can be asked. Exit 1 when stopping takes too long, or at a second signal,
 * or when the store cannot be written at the end; exit 2 when it could not start.
 */
import { compileAsUsual, compileSooner } from '../adapters/system/tier-up.ts'
import type { Settings } from '../config/settings.ts'
import { Failure } from '../lib/errors.ts'
import type { Result } from '../lib/result.ts'
import type { RootLog } from '../ports/log.ts'
import { complainOf } from './output.ts'

/** What a composition root gives back once everything listens. */
export interface RunningBroker {
  /** Accepts nobody any more, tells clients, writes what is open, and closes. Called once. */
  stop(): Promise<void>
  /** Takes over what it can; answers what changed and needs a restart. @throws Failure and goes on as before */
  reload(settings: Settings): Promise<readonly string[]>
}

/** A composition root. Rejects with a Failure when the world does not let it start. */
export type StartBroker = (settings: Settings, log: RootLog) => Promise<RunningBroker>

const stopMsMax = 5000

/** How long clients come back at once to a broker that was restarted. */
const rushMs = 3000

/** Resolves when the broker runs, or could not start; signals do the rest. */
export async function run(
  start: StartBroker,
  settings: Settings,
  log: RootLog,
  loadAgain: () => Promise<Result<Settings, readonly Failure[]>>,
): Promise<void> {
  compileSooner()
  const running = start(settings, log)
  let isStopping = false

  const stop = (signal: NodeJS.Signals) => {
    if (isStopping) process.exit(1)
    isStopping = true
    log.info({ signal }, 'stopping')
    setTimeout(() => {
      log.error({ ms: stopMsMax }, 'not stopped in time')
      process.exit(1)
    }, stopMsMax).unref()
    void running.then(async (broker) => {
      try {
        await broker.stop()
      } catch (error) {
        if (!(error instanceof Failure)) throw error
        log.error({ err: error }, 'stopped, and not everything is stored')
        process.exit(1)
      }
      log.info({}, 'stopped')
      process.exit(0)
    })
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  let reloaded = Promise.resolve()
  process.on('SIGHUP', () => {
    // One after the other: the last one counts.
    reloaded = Promise.all([running, reloaded]).then(([broker]) => reload(broker, log, loadAgain))
    // A broker that does not start says so itself.
    reloaded.catch(() => undefined)
  })

  try {
    await running
    if (!isStopping) log.info({ pid: process.pid, ms: Math.round(performance.now()) }, 'started')
    setTimeout(compileAsUsual, rushMs).unref()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    complainOf(error)
    process.exit(2)
  }
}

/** Settings that are not usable change nothing. */
async function reload(
  broker: RunningBroker,
  log: RootLog,
  loadAgain: () => Promise<Result<Settings, readonly Failure[]>>,
): Promise<void> {
  const loaded = await loadAgain()
  if (!loaded.ok) {
    for (const failure of loaded.error) log.error({ err: failure }, 'settings not reloaded')
    return
  }
  try {
    const needRestart = await broker.reload(loaded.value)
    if (needRestart.length > 0) log.warn({ settings: needRestart }, 'changed settings need a restart')
    log.info({}, 'settings reloaded')
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    log.error({ err: error }, 'settings not reloaded')
  }
}
