/**
 * The tables, how older files become this version, and the one statement that writes them.
 *
 * A group commit is an INSERT of one row into the temporary view `group_commit`, whose trigger spreads it over the
 * tables. So a commit of any kind is a single statement: all or nothing without BEGIN and COMMIT, and one trip to the
 * thread pool. JSON columns are arrays of rows; NULL stands for none.
 *
 * `loss` holds records of ports/ledger.ts, as JSON.
 *
 * `outbound` holds what was added to the record of a session since that was written.
 *
 * `meta` holds `epoch`, `durability` (of the last run), `timeline` (JSON, ports/clock.ts) and `trimmed_to`, the seq up
 * to which the log is gone.
 */
import { Failure } from '../../lib/errors.ts'
import type { Timeline } from '../../ports/clock.ts'
import type { Connection } from './connection.ts'
import { messageColumns, packingSelect, unpackingSelect } from './packed-messages.ts'

const messageColumnTypes =
  'flags INTEGER NOT NULL, expires_at_ms INTEGER, publisher TEXT NOT NULL, topic TEXT NOT NULL, properties BLOB, payload BLOB NOT NULL'

/**
 * Entry n brings a file from version n to n + 1 (PRAGMA user_version). Entries are only ever added.
 * `start_byte` counts the bytes of all messages appended before; so sizes of ranges need no scan.
 */
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
  'trim_to',
  'first_seq',
  'start_byte',
  'message_heads',
  'message_bytes',
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
  'meta',
] as const

/** Made anew on each connection that writes; nothing of it stands in the file. Every statement may be repeated. */
export const groupCommitSchema = `
  CREATE TEMP VIEW group_commit (${groupCommitColumns.join(', ')}) AS
    SELECT ${groupCommitColumns.map(() => 'NULL').join(', ')};
  CREATE TEMP TRIGGER write_group_commit INSTEAD OF INSERT ON group_commit BEGIN
    DELETE FROM log WHERE seq <= NEW.trim_to;
    INSERT OR REPLACE INTO log (seq, start_byte, ${messageColumns})
      SELECT NEW.first_seq + place, NEW.start_byte + at - 1, ${messageColumns}
      FROM (${unpackingSelect('NEW.message_heads', 'NEW.message_bytes')});
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
    INSERT INTO retained (${messageColumns})
      SELECT ${messageColumns} FROM (${unpackingSelect('NEW.retained_heads', 'NEW.retained_bytes')}) WHERE true
      ON CONFLICT (topic) DO UPDATE SET flags = excluded.flags, expires_at_ms = excluded.expires_at_ms,
        publisher = excluded.publisher, properties = excluded.properties, payload = excluded.payload;
    INSERT INTO mark (key, epoch, seq)
      SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(NEW.marks) WHERE true
      ON CONFLICT (key) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq;
    DELETE FROM loss WHERE number IN (SELECT value FROM json_each(NEW.removed_losses));
    INSERT INTO loss (number, record)
      SELECT value ->> 0, value ->> 1 FROM json_each(NEW.losses) WHERE true
      ON CONFLICT (number) DO UPDATE SET record = excluded.record;
    INSERT INTO meta (key, value)
      SELECT value ->> 0, value ->> 1 FROM json_each(NEW.meta) WHERE true
      ON CONFLICT (key) DO UPDATE SET value = excluded.value;
  END;`

export const groupCommitInsert = `INSERT INTO group_commit VALUES (${groupCommitColumns.map(() => '?').join(', ')})`

/**
 * Messages from ?1 or the first after it on: at most ?2 of them, none after ?3, and no more bytes than ?4 unless it
 * is only one message.
 */
export const logRead = packingSelect(
  'log',
  'seq',
  `seq >= ?1
   AND seq < min(?3 + 1, (SELECT min(seq) FROM log WHERE seq >= ?1) + ?2)
   AND (seq = (SELECT min(seq) FROM log WHERE seq >= ?1)
     OR start_byte + octet_length(topic) + ifnull(octet_length(properties), 0) + octet_length(payload)
       <= (SELECT start_byte FROM log WHERE seq >= ?1 ORDER BY seq LIMIT 1) + ?4)`,
)

/** At most ?2 retained messages behind row ?1; their position is the row. */
export const retainedRead = packingSelect('retained', 'rowid', 'rowid > ?1', 'LIMIT ?2')

/** As a column of `session`. */
export const outboundOfSession = `(SELECT json_group_array(json_array(seq, packet_id, qos, is_released))
  FROM outbound WHERE outbound.client_id = session.client_id) AS outbound`
