/**
 * What the tests and the demo need from Debian: a pty pair, and MQTT programs that are not ours. Installs what is
 * missing where it may (root, with apt); otherwise says in one line what to install, which is an error only where
 * nobody would read it.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const packageOf = {
  faketime: 'faketime',
  gcc: 'build-essential',
  socat: 'socat',
  mosquitto_pub: 'mosquitto-clients',
  mosquitto_sub: 'mosquitto-clients',
  mosquitto: 'mosquitto',
}

/** Debian keeps servers in sbin, which is not on everybody's path. */
const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin']

function isInstalled(program) {
  return folders.some((folder) => existsSync(join(folder, program)))
}

function missingPackages() {
  const missing = Object.keys(packageOf).filter((program) => !isInstalled(program))
  return [...new Set(missing.map((program) => packageOf[program]))]
}

function run(program, ...words) {
  const result = spawnSync(program, words, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
  return result.status === 0
}

const wanted = missingPackages()
if (wanted.length > 0 && process.getuid?.() === 0 && isInstalled('apt-get')) {
  console.log(`installing ${wanted.join(', ')}`)
  if (run('apt-get', '-qq', 'update')) run('apt-get', '-qq', '-y', 'install', '--no-install-recommends', ...wanted)
  // Debian starts a server that is installed; nobody asked for a second broker on port 1883.
  if (wanted.includes('mosquitto') && isInstalled('systemctl')) run('systemctl', 'disable', '--now', 'mosquitto')
}

const stillMissing = missingPackages()
if (stillMissing.length > 0) {
  console.error(`please install what tests and demo need: apt-get install ${stillMissing.join(' ')}`)
  if (process.env.CI === 'true') process.exitCode = 1
}
