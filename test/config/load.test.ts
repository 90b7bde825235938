/** Settings from files and variables, and every way in which they can be wrong: one line each. */
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import t, { type Test } from 'tap'
import { loadSettings } from '../../src/config/load.ts'
import { loadSettingsApart } from '../../src/config/load-apart.ts'
import type { Profile } from '../../src/config/option.ts'
import type { Settings } from '../../src/config/settings.ts'

type Env = Record<string, string>

t.test('without a file the defaults of the profile hold', (t) => {
  const edge = settingsOf(loadSettings('edge', undefined, {}))
  t.match(edge, {
    name: hostname().replace(/[^\w.-]/g, '-'),
    dataDir: resolve('data/edge'),
    log: { level: 'info' },
    mqtt: { packetBytesMax: 1_048_576, inflightMax: 128, sessionExpirySecondsV3: 604_800, connectTimeoutSeconds: 15 },
    store: { durability: 'disk' },
    listeners: [{ bind: { host: '127.0.0.1', port: 1883 }, tls: undefined, allowAnonymous: true, gateways: false }],
    serials: [],
    bridges: [],
  })
  const cloud = settingsOf(loadSettings('cloud', undefined, {}))
  t.match(cloud.listeners, [
    {
      bind: { host: '0.0.0.0', port: 8883 },
      tls: { files: 'auto', clientCertificate: 'required' },
      allowAnonymous: false,
      mountpoint: 'g/{identity}/',
      gateways: true,
    },
    { bind: { host: '127.0.0.1', port: 1884 }, tls: undefined, allowAnonymous: true, mountpoint: undefined },
  ])
  t.ok(cloud.mqtt.retainedCountMax > edge.mqtt.retainedCountMax)
  t.end()
})

t.test('the files in configs are the defaults, written out', (t) => {
  for (const profile of ['edge', 'cloud'] as const) {
    const built = settingsOf(loadSettings(profile, undefined, {}))
    const file = settingsOf(loadSettings(profile, `configs/${profile}.toml`, {}))
    t.strictSame({ ...file, serials: [] }, built)
  }
  const edge = settingsOf(loadSettings('edge', 'configs/edge.toml', {}))
  t.match(edge.serials, [
    {
      name: 'ttyUSB0',
      path: '/dev/ttyUSB0',
      baudRate: 115_200,
      protocol: 'link',
      deviceIds: [],
      mountpoint: undefined,
    },
  ])
  t.end()
})

t.test('a bridge takes its defaults from the node and the address', (t) => {
  const toml = `
    name = "gateway-1"
    [[bridge]]
    name = "cloud"
    address = "tls://[2001:db8::1]:8883"
    [[bridge]]
    name = "local"
    address = "tcp://127.0.0.1:1884"
    out = [{ filter = "a/#", qos = 2, remote_prefix = "plant/" }]`
  const [cloud, local] = settingsOf(load(t, toml)).bridges
  t.match(cloud, {
    addresses: [
      {
        scheme: 'tls',
        host: '2001:db8::1',
        port: 8883,
        tls: { ca: undefined, client: undefined, serverName: '2001:db8::1' },
      },
    ],
    clientId: 'edge-gateway-1',
    protocol: 'auto',
    startType: 'automatic',
    keepAliveSeconds: 60,
    reconnectMinMs: 1000,
    reconnectMaxMs: 120_000,
    inflightMax: 1024,
    out: [{ filter: '#', qos: 1, localPrefix: '', remotePrefix: '' }],
    in: [],
  })
  t.match(local, {
    addresses: [{ tls: undefined }],
    out: [{ filter: 'a/#', qos: 2, localPrefix: '', remotePrefix: 'plant/' }],
  })
  t.end()
})

t.test('certificate files are found beside the settings', (t) => {
  const toml = `
    [[listener]]
    type = "tls"
    bind = "0.0.0.0:8883"
    certificate = "server.crt"
    private_key = "server.key"
    ca = "ca.crt"`
  const folder = t.testdir({ 'x.toml': toml, 'server.crt': '', 'server.key': '', 'ca.crt': '' })
  const [listener] = settingsOf(loadSettings('edge', join(folder, 'x.toml'), {})).listeners
  t.strictSame(listener?.tls, {
    files: {
      certificate: join(folder, 'server.crt'),
      privateKey: join(folder, 'server.key'),
      ca: join(folder, 'ca.crt'),
    },
    clientCertificate: 'required',
  })
  t.end()
})

t.test('a setting that is not usable is one line with file, key, value and cure', (t) => {
  const see = '; see configs/reference.md'
  const cases: [toml: string, ...lines: string[]][] = [
    ['mqtt.inflight_max = "many"', `x.toml: mqtt.inflight_max = "many": expected a whole number 1..65535${see}`],
    ['mqtt.inflight_max = 0', `x.toml: mqtt.inflight_max = 0: expected a whole number 1..65535${see}`],
    ['mqtt.inflight_max = 1.5', `x.toml: mqtt.inflight_max = 1.5: expected a whole number 1..65535${see}`],
    ['log.level = "loud"', `x.toml: log.level = "loud": expected "error", "warn", "info" or "debug"${see}`],
    ['name = "a b"', `x.toml: name = "a b": expected a name of letters, digits, dots, dashes and underscores${see}`],
    [`data_dir = ""`, `x.toml: data_dir = "": expected a path${see}`],
    ['mqtt = 7', `x.toml: mqtt = 7: expected a table [mqtt]${see}`],
    ['[listener]', `x.toml: listener = a table: expected a list of tables [[listener]]${see}`],
    [
      '[[bridge]]\nname="b"\naddress="tcp://h:1"\nout = 1',
      `x.toml: bridge.0.out = 1: expected a list of tables [[bridge.out]]${see}`,
    ],
    ['[[serial]]', `x.toml: serial.0.path is missing: expected a path${see}`],
    [
      '[[serial]]\npath = "/dev/x"\nreset_on_open = "no"',
      `x.toml: serial.0.reset_on_open = "no": expected true or false${see}`,
    ],
    [
      '[[listener]]\ntype = "tcp"\nbind = "1883"',
      `x.toml: listener.0.bind = "1883": expected host:port, such as 127.0.0.1:1883 or [::1]:1883, or unix:path${see}`,
    ],
    [
      '[[listener]]\ntype = "tcp"\nbind = "h:70000"',
      `x.toml: listener.0.bind = "h:70000": expected host:port, such as 127.0.0.1:1883 or [::1]:1883, or unix:path${see}`,
    ],
    ['mqtt.inflght_max = 64', 'x.toml: unknown setting mqtt.inflght_max; did you mean inflight_max?'],
    ['lisener = []', 'x.toml: unknown setting lisener; did you mean listener?'],
    ['zebra = 1', `x.toml: unknown setting zebra${see}`],
    [
      '[[bridge]]\nname = "b"\naddress = "mqtt://h:1"\nout = [{ filter = "a/#/b", qos = 3, local_prefix = "+/" }]',
      `x.toml: bridge.0.address = "mqtt://h:1": expected tls://host:port, tcp://host:port, wss://host:port/path or ws://host:port/path${see}`,
      `x.toml: bridge.0.out.0.filter = "a/#/b": expected a topic filter such as sensors/+/temperature or #, or ""${see}`,
      `x.toml: bridge.0.out.0.qos = 3: expected 0, 1 or 2${see}`,
      `x.toml: bridge.0.out.0.local_prefix = "+/": expected the beginning of a topic, such as plant-7/, without wildcards${see}`,
    ],
  ]
  for (const [toml, ...lines] of cases) t.strictSame(linesOf(load(t, toml)), lines, toml)
  t.end()
})

t.test('a topic filter is refused exactly where MQTT refuses it', (t) => {
  const withFilter = (filter: string) =>
    load(t, `[[bridge]]\nname = "b"\naddress = "tcp://h:1"\nout = [{ filter = '${filter}' }]`)
  for (const good of ['#', '+', '/', 'a', 'a/b', '/a', 'a/', 'a//b', '+/+', '+/a/#', '/#', '$SYS/#']) {
    t.ok(withFilter(good).ok, good)
  }
  for (const bad of ['', 'a#', '#/a', 'a/#/b', 'a+', '+a', 'a/b+/c', '##']) t.notOk(withFilter(bad).ok, bad)
  t.end()
})

t.test('a file that cannot be used is one line', (t) => {
  t.match(linesOf(loadSettings('edge', '/nowhere/x.toml', {})), [
    /^the configuration file cannot be read: \/nowhere\/x.toml \(ENOENT\)/,
  ])
  t.match(linesOf(load(t, 'a = 1\nb = = 2')), [
    /^the configuration file is not valid TOML: x.toml:2:5: \S.* \(ERR_CONFIG_SYNTAX\)/,
  ])
  t.match(linesOf(load(t, '[mqtt]\n[mqtt]')), [/not valid TOML: x.toml:2:\d+/])
  t.end()
})

t.test('a listener that other machines reach lets nobody in who was not asked', (t) => {
  const listen = (lines: string) => load(t, `[[listener]]\n${lines}`)
  const open = linesOf(listen('type = "tcp"\nbind = "0.0.0.0:1883"'))
  t.strictSame(open, [
    'a listener reachable from other machines would let anybody in: x.toml: listener.0.bind = "0.0.0.0:1883" ' +
      '(ERR_LISTENER_OPEN): require client certificates, name users with authentication.scram_users, bind to 127.0.0.1, or set allow_anonymous = true',
  ])
  for (const bind of ['192.0.2.1:1883', '[::]:1883', 'gateway.example:1883', '127.example:1883']) {
    t.match(linesOf(listen(`type = "tcp"\nbind = "${bind}"`)), [/ERR_LISTENER_OPEN/], bind)
  }
  t.match(linesOf(listen('type = "tcp"\nbind = "0.0.0.0:1883"\nallow_anonymous = false')), [/ERR_LISTENER_OPEN/])
  const withoutClientCertificate =
    'type = "tls"\nbind = "0.0.0.0:8883"\ncertificate = "auto"\nclient_certificate = "none"'
  t.match(linesOf(listen(withoutClientCertificate)), [/ERR_LISTENER_OPEN/])

  t.ok(listen('type = "tcp"\nbind = "0.0.0.0:1883"\nallow_anonymous = true').ok)
  t.ok(listen('type = "tls"\nbind = "0.0.0.0:8883"\ncertificate = "auto"').ok)
  t.ok(listen(`${withoutClientCertificate}\nallow_anonymous = true`).ok)
  t.match(linesOf(listen('type = "tcp"\nbind = "127.0.0.1:1883"\nproxy_protocol = true')), [/ERR_LISTENER_OPEN/])
  for (const bind of ['127.0.0.1:0', '127.1.2.3:1883', '[::1]:1883', 'localhost:1883']) {
    const [listener] = settingsOf(listen(`type = "tcp"\nbind = "${bind}"`)).listeners
    t.equal(listener?.allowAnonymous, true, bind)
  }
  t.end()
})

t.test('a listener is plain or TLS, with or without WebSocket, or a socket in the file system', (t) => {
  const toml = `
    [[listener]]
    type = "ws"
    bind = "127.0.0.1:8083"
    [[listener]]
    type = "wss"
    bind = "0.0.0.0:8084"
    path = "/"
    certificate = "auto"
    [[listener]]
    type = "tcp"
    bind = "unix:run/tidegate.sock"`
  t.match(settingsOf(load(t, toml)).listeners, [
    { type: 'ws', tls: undefined, webSocketPath: '/mqtt', allowAnonymous: true },
    { type: 'wss', tls: { files: 'auto', clientCertificate: 'required' }, webSocketPath: '/', allowAnonymous: false },
    { type: 'tcp', bind: { path: resolve('run/tidegate.sock') }, webSocketPath: undefined, allowAnonymous: true },
  ])
  t.match(linesOf(load(t, '[[listener]]\ntype = "ws"\nbind = "0.0.0.0:8083"')), [/ERR_LISTENER_OPEN/])
  t.end()
})

t.test('settings that contradict each other are refused', (t) => {
  const tls = '[[listener]]\ntype = "tls"\nbind = "127.0.0.1:0"\n'
  const tcp = '[[listener]]\ntype = "tcp"\nbind = "127.0.0.1:0"\n'
  const up = '[[bridge]]\nname = "up"\naddress = "tls://h:1"\n'
  const cases: [toml: string, ...lines: RegExp[]][] = [
    [tls, /certificate is missing: expected a path, or "auto"/, /private_key is missing/, /ca is missing/],
    [`${tls}client_certificate = "none"`, /certificate is missing/, /private_key is missing/],
    [
      `${tls}certificate = "auto"\nprivate_key = "k"\nca = "c"`,
      /private_key = "k": expected none/,
      /ca = "c": expected none/,
    ],
    [
      `${tls}certificate = "nowhere.crt"\nprivate_key = "."\nca = "."`,
      /listener.0.certificate = "nowhere.crt": no such file \(ERR_CERTIFICATE\)/,
    ],
    [`${tcp}certificate = "auto"`, /certificate = "auto": expected none, as type is "tcp"/],
    [`${tcp}path = "/mqtt"`, /path = "\/mqtt": expected none, as type is "tcp"/],
    ['[[listener]]\ntype = "ws"\nbind = "unix:x"', /bind = "unix:x": expected host:port, as type is "ws"/],
    ['[[listener]]\ntype = "ws"\nbind = "127.0.0.1:0"\nca = "."', /ca = ".": expected none, as type is "ws"/],
    [
      '[[listener]]\ntype = "wss"\nbind = "127.0.0.1:0"\nclient_certificate = "none"\nprivate_key = "."',
      /certificate is missing: expected .* as type is "wss"/,
    ],
    [`${tcp}client_certificate = "required"`, /client_certificate = "required": expected "none"/],
    [`${tcp}mountpoint = "g/{identity}/"`, /mountpoint = "g\/{identity}\/": expected no {identity} without/],
    [`${up}certificate = "."`, /bridge.0.private_key is missing: expected certificate and private_key together/],
    [`${up}ca = "nowhere.crt"`, /bridge.0.ca = "nowhere.crt": no such file/],
    [
      `${up}reconnect_min_ms = 500\nreconnect_max_ms = 400`,
      /reconnect_max_ms = 400: expected at least reconnect_min_ms, which is 500/,
    ],
    ['[[bridge]]\nname = "up"\naddress = "tcp://h:1"\nserver_name = "h"', /server_name = "h": expected none/],
    [up + up, /bridge.1.name = "up": expected one that no other block has/],
    ['[[serial]]\npath = "/dev/x"\naddresses = [1, 2, 1]', /serial.0.addresses = .*expected each address once/],
    ['[[serial]]\npath = "/dev/x"\naddresses = [1]\nprotocol = "raw"', /serial.0.addresses = .*none, as protocol/],
    ['[[serial]]\npath = "/dev/x"\naddresses = [1]\nbaud_rate_max = 500000', /baud_rate_max = .*a bus keeps its rate/],
    ['[[serial]]\npath = "/dev/a/x"\n[[serial]]\npath = "/dev/b/x"', /serial.1.name = "x"/],
    ['[[serial]]\nname = "a"\npath = "/dev/x"\n[[serial]]\nname = "b"\npath = "/dev/x"', /serial.1.path = "\/dev\/x"/],
  ]
  for (const [toml, ...lines] of cases) {
    const found = linesOf(load(t, toml))
    t.match(found, lines, toml)
    t.equal(found.length, lines.length, toml)
  }
  t.end()
})

t.test('a variable stands above the file', (t) => {
  const env: Env = {
    PATH: '/bin',
    TIDEGATE_NAME: '42',
    TIDEGATE_MQTT__INFLIGHT_MAX: '64',
    TIDEGATE_LISTENER__0__BIND: '127.0.0.1:0',
    TIDEGATE_LISTENER__1__TYPE: 'tcp',
    TIDEGATE_LISTENER__1__BIND: '0.0.0.0:0',
    TIDEGATE_LISTENER__1__ALLOW_ANONYMOUS: 'true',
    TIDEGATE_BRIDGE__0__NAME: 'up',
    TIDEGATE_BRIDGE__0__ADDRESS: 'tcp://h:1',
    TIDEGATE_BRIDGE__0__OUT__0__QOS: '2',
  }
  const settings = settingsOf(load(t, 'name = "file"\nmqtt.inflight_max = 7\nmqtt.queue_count_max = 8', env))
  t.equal(settings.name, '42')
  t.equal(settings.mqtt.inflightMax, 64)
  t.equal(settings.mqtt.queueCountMax, 8)
  t.match(settings.listeners, [
    { bind: { host: '127.0.0.1', port: 0 }, allowAnonymous: true },
    { bind: { host: '0.0.0.0', port: 0 }, allowAnonymous: true },
  ])
  t.match(settings.bridges[0]?.out, [{ filter: '#', qos: 2 }])
  t.end()
})

t.test('entry 10 of a list comes after entry 9', (t) => {
  const env: Env = {}
  for (let index = 0; index <= 10; index++) env[`TIDEGATE_SERIAL__${index}__PATH`] = `/dev/ttyUSB${index}`
  const paths = settingsOf(load(t, '', env)).serials.map((serial) => serial.path)
  t.equal(paths[10], '/dev/ttyUSB10')
  t.end()
})

t.test('a variable that is not usable is named in its line', (t) => {
  const see = '; see configs/reference.md'
  const cases: [env: Env, ...lines: string[]][] = [
    [
      { TIDEGATE_MQTT__INFLIGHT_MAX: 'many' },
      `TIDEGATE_MQTT__INFLIGHT_MAX: mqtt.inflight_max = "many": expected a whole number 1..65535${see}`,
    ],
    [
      { TIDEGATE_LISTENER__0__ALLOW_ANONYMOUS: 'yes' },
      `TIDEGATE_LISTENER__0__ALLOW_ANONYMOUS: listener.0.allow_anonymous = "yes": expected true or false${see}`,
    ],
    [{ TIDEGATE_MQTT: '7' }, `TIDEGATE_MQTT: mqtt = "7": expected a table [mqtt]${see}`],
    [
      { TIDEGATE_MQTT__INFLGHT_MAX: '1' },
      'TIDEGATE_MQTT__INFLGHT_MAX: unknown setting mqtt.inflght_max; did you mean inflight_max?',
    ],
    [{ TIDEGATE_NAME__X: '1' }, `TIDEGATE_NAME__X: unknown setting name.x${see}`],
    [
      { TIDEGATE_MQTT__INFLIGHT_MAX__X: '1' },
      `TIDEGATE_MQTT__INFLIGHT_MAX__X: unknown setting mqtt.inflight_max.x${see}`,
    ],
    [{ TIDEGATE_CONSTRUCTOR: '1' }, `TIDEGATE_CONSTRUCTOR: unknown setting constructor${see}`],
    [
      { TIDEGATE_LISTENER__2__BIND: 'x' },
      `TIDEGATE_LISTENER__2__BIND: listener.2 = "x": expected an entry 0..1 of listener${see}`,
    ],
    [
      { TIDEGATE_LISTENER__FIRST__BIND: 'x' },
      `TIDEGATE_LISTENER__FIRST__BIND: listener.first = "x": expected an entry 0..1 of listener${see}`,
    ],
  ]
  for (const [env, ...lines] of cases) t.strictSame(linesOf(load(t, '', env)), lines)
  t.match(linesOf(load(t, '', { TIDEGATE_LISTENER__0__BIND: '0.0.0.0:1' })), [
    /TIDEGATE_LISTENER__0__BIND: listener.0.bind/,
  ])
  t.strictSame(linesOf(load(t, 'mqtt = 7', { TIDEGATE_MQTT__INFLIGHT_MAX: '1' })), [
    `x.toml: mqtt = 7: expected a table [mqtt]${see}`,
  ])
  t.end()
})

t.test('what Kubernetes sets for a service named tidegate is no setting', (t) => {
  const env: Env = {
    TIDEGATE_PORT: 'tcp://10.0.0.1:1883',
    TIDEGATE_PORT_1883_TCP_ADDR: '10.0.0.1',
    TIDEGATE_SERVICE_HOST: '10.0.0.1',
    TIDEGATE_SERVICE_PORT_MQTT: '1883',
  }
  t.ok(load(t, '', env).ok)
  t.notOk(load(t, '', { TIDEGATE_PORTS: '1' }).ok)
  t.end()
})

t.test('loading apart gives the same', async (t) => {
  t.strictSame(await loadSettingsApart('cloud', undefined, {}), loadSettings('cloud', undefined, {}))
  const bad = await loadSettingsApart('edge', undefined, { TIDEGATE_NAME: '' })
  t.strictSame(linesOf(bad), linesOf(loadSettings('edge', undefined, { TIDEGATE_NAME: '' })))
})

type Loaded = ReturnType<typeof loadSettings>

function load(t: Test, toml: string, env: Env = {}, profile: Profile = 'edge'): Loaded {
  return loadSettings(profile, join(t.testdir({ 'x.toml': toml }), 'x.toml'), env)
}

function settingsOf(loaded: Loaded): Settings {
  if (loaded.ok) return loaded.value
  throw loaded.error[0]
}

/** As the command prints them, with the folder of the test left out. */
function linesOf(loaded: Loaded): string[] {
  if (loaded.ok) return []
  return loaded.error.map((failure) => {
    const line = failure.code === 'ERR_CONFIG_VALUE' ? failure.detail : failure.line
    return line.replace(/\S*\/\.tap\/\S*\/x\.toml/, 'x.toml')
  })
}
