/**
 * The tables, how older files become this version, and the one statement that writes them.
 *
 * A group commit is an INSERT of one row into the temporary view `group_commit`, whose trigger spreads it over the
 * tables. So a commit of any kind is a single statement: all or nothing without BEGIN and COMMIT, and one trip to the
 * thread pool. JSON columns are arrays of rows; NULL stands for none.
 *
 * `log_0` to `log_3` are the lanes of the message log: seqs are those of the whole log, `number` and `start_byte` count
 * the messages and bytes of the lane before, so that sizes of ranges need no scan. Rows of before there were lanes have
 * no number, which is their seq, and no time.
 *
 * `retained` has no time for messages of before it was kept, and no payload for a topic that was deleted.
 *
 * `delay` holds messages that are due later, packed as JSON.
 *
 * `loss` holds records of ports/ledger.ts, as JSON.
 *
 * `outbound` holds what was added to the record of a session since that was written.
 *
 * `meta` holds `epoch`, `timeline` (JSON, ports/clock.ts), `trimmed_to`, the highest seq that was trimmed, and
 * `seq_ceiling`: messages that a power cut takes have seqs up to there, which are not given out again. Commits that are
 * not synced hold no seq beyond it, and the one that raises it is synced. 0 after a run that ended well.
 */
import { Failure } from '../../lib/errors.ts'
import type { Timeline } from '../../ports/clock.ts'
import { type Lane, lanes } from '../../ports/lane.ts'
import type { Connection } from './connection.ts'
import { messageColumns, packingSelect, unpackingSelect } from './packed-messages.ts'

/** Of the file. */
export const pageBytes = 4096

const messageColumnTypes =
  'flags INTEGER NOT NULL, expires_at_ms INTEGER, publisher TEXT NOT NULL, topic TEXT NOT NULL, properties BLOB, payload BLOB NOT NULL'

/** Entry n brings a file from version n to n + 1 (PRAGMA user_version). Entries are only ever added. */
const migrations = [
  `CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;
   CREATE TABLE log (seq INTEGER PRIMARY KEY, start_byte INTEGER NOT NULL, ${messageColumnTypes}) STRICT;
   CREATE TABLE session (client_id TEXT PRIMARY KEY, epoch INTEGER NOT NULL, cursor INTEGER NOT NULL, record TEXT NOT NULL) STRICT;
   CREATE TABLE inbox (client_id TEXT NOT NULL, packet_id INTEGER NOT NULL, PRIMARY KEY (client_id, packet_id)) STRICT;
   CREATE TABLE retained (${messageColumnTypes}, UNIQUE (topic)) STRICT;
   CREATE TABLE mark (key TEXT PRIMARY KEY, epoch TEXT NOT NULL, seq INTEGER NOT NULL) STRICT;`,
  `CREATE TABLE outbound (client_id TEXT NOT NULL, seq INTEGER NOT NULL, packet_id INTEGER NOT NULL,
     qos INTEGER NOT NULL, is_released INTEGER NOT NULL, PRIMARY KEY (client_id, seq, packet_id)) STRICT, WITHOUT ROWID;`,
  'CREATE TABLE loss (number INTEGER PRIMARY KEY, record TEXT NOT NULL) STRICT;',
  // What is there becomes the event lane without being copied: a backlog may be larger than what is free on the disk.
  `ALTER TABLE log RENAME TO log_1;
   ALTER TABLE log_1 ADD COLUMN number INTEGER;
   ALTER TABLE log_1 ADD COLUMN at_ms INTEGER;
   ${[0, 2, 3].map((lane) => `CREATE TABLE log_${lane} (seq INTEGER PRIMARY KEY, start_byte INTEGER NOT NULL, number INTEGER, at_ms INTEGER, ${messageColumnTypes}) STRICT;`).join('\n')}`,
  'CREATE TABLE delay (id INTEGER PRIMARY KEY, due_at_ms INTEGER NOT NULL, message TEXT NOT NULL) STRICT;',
  'ALTER TABLE retained ADD COLUMN changed_at_ms INTEGER;',
  // Before there was a ceiling, a log that was not synced may have lost its end, and goes on as another one.
  `DELETE FROM meta WHERE key = 'epoch' AND EXISTS (SELECT 1 FROM meta WHERE key = 'durability' AND value = 'os');
   DELETE FROM meta WHERE key = 'durability';`,
]

/** Brings the file up to this version. Rejects with a SqliteError, or a Failure ERR_STORE_NEWER. */
export async function migrate(connection: Connection, path: string): Promise<void> {
  const version = await readVersion(connection)
  if (version > migrations.length) {
    throw new Failure('ERR_STORE_NEWER', `${path} has schema ${version}, this version knows ${migrations.length}`)
  }
  for (const [index, sql] of migrations.entries()) {
    if (index >= version) await connection.execute(`BEGIN; ${sql} PRAGMA user_version = ${index + 1}; COMMIT;`)
  }
}

async function readVersion(connection: Connection): Promise<number> {
  const [row] = await connection.rows<{ user_version: number }>('PRAGMA user_version')
  return row?.user_version ?? 0
}

/** undefined when the file has none, or is not of this version. */
export async function readSavedTimeline(connection: Connection): Promise<Timeline | undefined> {
  if ((await readVersion(connection)) !== migrations.length) return undefined
  const [row] = await connection.rows<{ value: string }>("SELECT value FROM meta WHERE key = 'timeline'")
  return row && (JSON.parse(row.value) as Timeline)
}

/** The columns of `group_commit`, in the order in which values are bound. */
export const groupCommitColumns = [
  ...lanes.map((lane) => `trim_${lane}`),
  'started_at_ms',
  'first_seq',
  ...lanes.flatMap((lane) => [`number_${lane}`, `start_byte_${lane}`, `heads_${lane}`, `bytes_${lane}`]),
  'removed_sessions',
  'sessions',
  'cursors',
  'outbound',
  'cleared_inboxes',
  'inbox_releases',
  'inbox_puts',
  'cleared_topics',
  'retained_heads',
  'retained_bytes',
  'marks',
  'removed_losses',
  'losses',
  'removed_delays',
  'delays',
  'meta',
]

function writeLane(lane: Lane): string {
  return `DELETE FROM log_${lane} WHERE seq <= NEW.trim_${lane};
    INSERT OR REPLACE INTO log_${lane} (seq, start_byte, number, at_ms, ${messageColumns})
      SELECT NEW.first_seq + extra, NEW.start_byte_${lane} + at - 1, NEW.number_${lane} + place,
        CAST(NEW.started_at_ms AS INTEGER), ${messageColumns}
      FROM (${unpackingSelect(`NEW.heads_${lane}`, `NEW.bytes_${lane}`)});`
}

/** Made anew on each connection that writes; nothing of it stands in the file. Every statement may be repeated. */
export const groupCommitSchema = `
  CREATE TEMP VIEW group_commit (${groupCommitColumns.join(', ')}) AS
    SELECT ${groupCommitColumns.map(() => 'NULL').join(', ')};
  CREATE TEMP TRIGGER write_group_commit INSTEAD OF INSERT ON group_commit BEGIN
    ${lanes.map(writeLane).join('')}
    DELETE FROM session WHERE client_id IN (SELECT value FROM json_each(NEW.removed_sessions));
    DELETE FROM outbound WHERE client_id IN (SELECT value FROM json_each(NEW.removed_sessions));
    DELETE FROM outbound WHERE client_id IN (SELECT value ->> 0 FROM json_each(NEW.sessions));
    INSERT INTO session (client_id, epoch, cursor, record)
      SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(NEW.sessions) WHERE true
      ON CONFLICT (client_id) DO UPDATE SET epoch = excluded.epoch, cursor = excluded.cursor, record = excluded.record;
    UPDATE session SET cursor = moved.value ->> 1
      FROM json_each(NEW.cursors) AS moved WHERE client_id = moved.value ->> 0;
    INSERT INTO outbound (client_id, seq, packet_id, qos, is_released)
      SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(NEW.outbound) WHERE true
      ON CONFLICT (client_id, seq, packet_id) DO UPDATE SET qos = excluded.qos, is_released = excluded.is_released;
    DELETE FROM outbound WHERE (client_id, seq, packet_id) IN
      (SELECT passed.client_id, passed.seq, passed.packet_id FROM json_each(NEW.cursors) AS moved
       CROSS JOIN outbound AS passed ON passed.client_id = moved.value ->> 0
         AND passed.seq BETWEEN 1 AND moved.value ->> 1);
    DELETE FROM inbox WHERE client_id IN (SELECT value FROM json_each(NEW.cleared_inboxes));
    DELETE FROM inbox WHERE (client_id, packet_id) IN
      (SELECT value ->> 0, value ->> 1 FROM json_each(NEW.inbox_releases));
    INSERT OR IGNORE INTO inbox (client_id, packet_id)
      SELECT value ->> 0, value ->> 1 FROM json_each(NEW.inbox_puts);
    DELETE FROM retained WHERE topic IN (SELECT value FROM json_each(NEW.cleared_topics));
    INSERT INTO retained (changed_at_ms, ${messageColumns})
      SELECT extra, ${messageColumns} FROM (${unpackingSelect('NEW.retained_heads', 'NEW.retained_bytes')}) WHERE true
      ON CONFLICT (topic) DO UPDATE SET flags = excluded.flags, expires_at_ms = excluded.expires_at_ms,
        changed_at_ms = excluded.changed_at_ms, publisher = excluded.publisher, properties = excluded.properties, payload = excluded.payload;
    INSERT INTO mark (key, epoch, seq)
      SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(NEW.marks) WHERE true
      ON CONFLICT (key) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq;
    DELETE FROM loss WHERE number IN (SELECT value FROM json_each(NEW.removed_losses));
    INSERT INTO loss (number, record)
      SELECT value ->> 0, value ->> 1 FROM json_each(NEW.losses) WHERE true
      ON CONFLICT (number) DO UPDATE SET record = excluded.record;
    DELETE FROM delay WHERE id IN (SELECT value FROM json_each(NEW.removed_delays));
    INSERT OR REPLACE INTO delay (id, due_at_ms, message)
      SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(NEW.delays);
    INSERT INTO meta (key, value)
      SELECT value ->> 0, value ->> 1 FROM json_each(NEW.meta) WHERE true
      ON CONFLICT (key) DO UPDATE SET value = excluded.value;
  END;`

export const groupCommitInsert = `INSERT INTO group_commit VALUES (${groupCommitColumns.map(() => '?').join(', ')})`

const messageBytes = 'octet_length(topic) + ifnull(octet_length(properties), 0) + octet_length(payload)'

/** No page has more rows. */
const pageRows = 1024

/** A page of one lane, from ?3 or the first after it on: none after ?1, and no more bytes than ?2 unless it is only one message. */
export function laneRead(lane: Lane): string {
  const table = `log_${lane}`
  const first = (column: string): string => `(SELECT ${column} FROM ${table} WHERE seq >= ?3 ORDER BY seq LIMIT 1)`
  // Counting rows reads nothing of them. Where so many are not too large, which is the rule, none is looked at twice.
  const end = `ifnull((SELECT seq FROM ${table} WHERE seq >= ?3 ORDER BY seq LIMIT 1 OFFSET ${pageRows - 1}),
    (SELECT max(seq) FROM ${table}))`
  const fits = `start_byte + ${messageBytes} <= ${first('start_byte')} + ?2`
  return packingSelect({
    from: table,
    key: 'seq',
    lane: `${lane}`,
    atMs: 'at_ms',
    where: `seq BETWEEN ?3 AND min(?1, coalesce(
      (SELECT seq FROM ${table} WHERE seq = ${end} AND ${fits}),
      (SELECT max(seq) FROM ${table} WHERE seq BETWEEN ?3 AND ${end} AND ${fits}),
      ${first('seq')}))`,
  })
}

/**
 * A page of the lanes together: messages from ?3 to ?6 on, by lane; none after ?1, and no more bytes than ?2 unless it is
 * only one message. The range is found first, without reading payloads.
 */
export const logRead = (() => {
  const union = (columns: string, upTo: string): string =>
    lanes
      .map((lane) => `SELECT ${lane} AS lane, ${columns} FROM log_${lane} WHERE seq BETWEEN ?${lane + 3} AND ${upTo}`)
      .join(' UNION ALL ')
  const lastSeq = `(SELECT max(seq) FROM (
    SELECT seq, sum(byte_count) OVER (ORDER BY seq) AS bytes_up_to, row_number() OVER (ORDER BY seq) AS place
    FROM (${union(`seq, ${messageBytes} AS byte_count`, '?1')} ORDER BY seq LIMIT ${pageRows}))
    WHERE bytes_up_to <= ?2 OR place = 1)`
  return packingSelect({
    from: `(${union(`seq, at_ms, ${messageColumns}`, lastSeq)} ORDER BY seq)`,
    key: 'seq',
    lane: 'lane',
    atMs: 'at_ms',
    where: 'true',
  })
})()

/** Where a lane goes on behind seq ?1. */
export function laneStart(lane: Lane): string {
  return `SELECT seq, ifnull(number, seq) AS number, start_byte FROM log_${lane} WHERE seq > ?1 ORDER BY seq LIMIT 1`
}

/** Where a lane ends. */
export function laneEnd(lane: Lane): string {
  return `SELECT seq, ifnull(number, seq) AS number, start_byte + ${messageBytes} AS end_byte
    FROM log_${lane} ORDER BY seq DESC LIMIT 1`
}

/** How many of the oldest ?2 messages behind seq ?1 are before number ?3, or byte ?4, or time ?5. */
export function laneExcess(lane: Lane): string {
  return `SELECT min(seq) AS first_seq, max(seq) AS last_seq,
      max(number) - min(number) + 1 AS count FROM (
        SELECT seq, ifnull(number, seq) AS number, start_byte, at_ms FROM log_${lane} WHERE seq > ?1 ORDER BY seq LIMIT ?2)
    WHERE number < ?3 OR start_byte < ?4 OR at_ms < ?5`
}

/** At most ?2 retained messages behind row ?1; their position is the row. */
export const retainedRead = packingSelect({
  from: 'retained',
  key: 'rowid',
  atMs: 'changed_at_ms',
  where:
    'rowid > ?1 AND rowid <= (SELECT max(rowid) FROM (SELECT rowid FROM retained WHERE rowid > ?1 ORDER BY rowid LIMIT ?2))',
})

/** As a column of `session`. */
export const outboundOfSession = `(SELECT json_group_array(json_array(seq, packet_id, qos, is_released))
  FROM outbound WHERE outbound.client_id = session.client_id) AS outbound`
