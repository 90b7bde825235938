/**
 * Who may import whom (src/README.md draws it). One row per folder of src; what a row does not name is forbidden,
 * type-only imports included. Tests may import everything.
 */
const core = ['lib', 'protocol', 'ports', 'broker', 'bridge', 'gateway']
const mayImport = {
  lib: [],
  protocol: ['lib'],
  ports: ['protocol', 'lib'],
  broker: ['ports', 'protocol', 'lib'],
  bridge: ['ports', 'protocol', 'lib'],
  gateway: ['ports', 'protocol', 'lib'],
  config: ['protocol', 'lib'],
  adapters: ['ports', 'protocol', 'lib'],
  admin: ['ports', 'lib'],
  node: ['adapters', 'admin', 'broker', 'bridge', 'gateway', 'ports', 'protocol', 'config', 'lib'],
  cli: [
    'adapters/(net|auth-scram|certificates|serial-port|serial-tcp|log-pino|system)',
    'admin',
    'gateway',
    'ports',
    'protocol',
    'config',
    'lib',
  ],
}

const ours = '^(src|edge|cloud|firmware-sim|test)/'
const roots = '^(edge|cloud)/'
/** Files that are started, not imported. */
const entries = '^(edge/main|cloud/main|src/cli/main|src/config/(reference|load-worker))[.]ts$'
/** The two commands that start a composition root, by dynamic import. */
const starters = '^src/cli/commands/(edge|cloud)[.]ts$'

const rule = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to })

export default {
  forbidden: [
    rule(
      'no-cycle',
      'Two files that run each other are one file, or lack an interface. A type may look back at its owner.',
      {},
      { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    ),
    rule(
      'no-dead-file',
      'A file that no composition root, command or generator reaches serves nobody.',
      { path: entries },
      { path: '^src/', pathNot: entries, reachable: false },
    ),
    ...Object.entries(mayImport).map(([folder, others]) =>
      rule(
        `${folder}-layer`,
        `src/${folder} may import ${others.length === 0 ? 'nothing else of ours' : others.join(', ')}.`,
        { path: `^src/${folder}/` },
        { path: ours, pathNot: [`^src/(${[folder, ...others].join('|')})/`, roots] },
      ),
    ),
    rule(
      'roots-are-roots',
      'Composition roots are started by their command and imported by nobody else.',
      { path: '^src/', pathNot: starters },
      { path: roots },
    ),
    rule(
      'roots-are-strangers',
      'What edge and cloud share belongs in src.',
      { path: '^(edge|cloud)/' },
      { path: roots, pathNot: '^$1/' },
    ),
    rule(
      'core-is-pure',
      'No built-in but node:buffer and no package: what comes from outside comes through a port.',
      { path: `^src/(${core.join('|')})/` },
      { pathNot: [ours, '^(node:)?buffer$'] },
    ),
    rule(
      'adapters-are-islands',
      'An adapter knows its port, never another adapter.',
      { path: '^src/adapters/([^/]+)/' },
      { path: '^src/adapters/', pathNot: '^src/adapters/($1|nats)/' },
    ),
    rule(
      'sim-is-a-stranger',
      'A simulated device must not share the mistakes of the broker.',
      { path: '^firmware-sim/' },
      { path: '^(src|edge|cloud)/', pathNot: '^src/(protocol|lib)/' },
    ),
    rule(
      'tests-are-leaves',
      'Nothing that ships imports a test.',
      { path: '^(src|edge|cloud|firmware-sim)/' },
      { path: '^test/' },
    ),
    rule(
      'edge-without-nats',
      'A gateway runs without the packages of the cluster.',
      { path: '^edge/' },
      { path: '@nats-io', reachable: true },
    ),
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
  },
}
