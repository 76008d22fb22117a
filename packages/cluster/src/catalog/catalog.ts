import { chmodSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { passFaultPoint } from '@antipode/base';
import { RestError } from '@antipode/contract';
import { CatalogReserve } from './catalog-reserve.ts';
import { type Documents, type Table, tables } from './documents.ts';
import { isFull, isMediumError, isMediumRefusal, mediumRefusal } from './medium-errors.ts';
import { schemaVersion } from './schema-version.ts';

const backupsKept = 3;
/** Rows of each table kept in memory while the medium takes nothing. */
const asideMost = 1_000;

const expiryOf = `doc ->> '$.protection_data.expiration_timestamp'`;
/** Views that REST reads under other names than those of tables. Rates are what was measured last, in memory. */
const namedViews: Readonly<Record<string, string>> = {
  volume_mirror_transfer_rate_cma_view: `SELECT v.place AS place, v.id AS id, coalesce(r.doc, json_object('id', v.id, 'timestamp', strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'), 'synchronization_bandwidth', 0, 'mirror_bandwidth', 0, 'data_remaining', 0)) AS doc FROM rest_volume v LEFT JOIN temp.rate r ON r.id = v.id WHERE v.doc ->> '$.type' <> 'Snapshot'`,
  limit: 'SELECT * FROM rest_system_limit',
  volume_list_cma_view: `SELECT * FROM rest_volume WHERE doc ->> '$.type' <> 'Snapshot'`,
  volume_group_list_cma_view: `SELECT * FROM rest_volume_group WHERE doc ->> '$.type' <> 'Snapshot'`,
};

const uniquely = (table: Table, name: string, attribute: string, where = '') =>
  `CREATE UNIQUE INDEX ${name} ON ${table} (doc ->> '$.${attribute}')${where}`;

/** What the database itself refuses twice, and what is looked up often. */
const indexes: readonly string[] = [
  // Snapshots are named within their family; volumes, clones and groups within the cluster.
  uniquely('volume', 'volume_name', 'name', ` WHERE doc ->> '$.type' IN ('Primary', 'Clone')`),
  `CREATE UNIQUE INDEX volume_snapshot_name ON volume (doc ->> '$.protection_data.parent_id', doc ->> '$.name') WHERE doc ->> '$.type' = 'Snapshot'`,
  uniquely('policy', 'policy_name', 'name'),
  uniquely('replication_rule', 'replication_rule_name', 'name'),
  uniquely('snapshot_rule', 'snapshot_rule_name', 'name'),
  `CREATE UNIQUE INDEX io_limit_rule_name ON io_limit_rule (lower(doc ->> '$.name'))`,
  uniquely('local_user', 'local_user_name', 'name'),
  uniquely('remote_system', 'remote_system_serial', 'serial_number'),
  uniquely('host', 'host_name', 'name'),
  uniquely('host_group', 'host_group_name', 'name'),
  `CREATE UNIQUE INDEX initiator_port ON initiator (lower(doc ->> '$.port_name'))`,
  `CREATE INDEX initiator_host ON initiator (doc ->> '$.host_id')`,
  `CREATE INDEX host_of_group ON host (doc ->> '$.host_group_id')`,
  `CREATE INDEX mapping_volume ON host_volume_mapping (doc ->> '$.volume_id')`,
  `CREATE INDEX mapping_host ON host_volume_mapping (doc ->> '$.host_id')`,
  `CREATE INDEX mapping_group ON host_volume_mapping (doc ->> '$.host_group_id')`,
  `CREATE UNIQUE INDEX mapping_lun ON host_volume_mapping (coalesce(doc ->> '$.host_id', doc ->> '$.host_group_id'), doc ->> '$.logical_unit_number')`,
  `CREATE UNIQUE INDEX mapping_pair ON host_volume_mapping (coalesce(doc ->> '$.host_id', doc ->> '$.host_group_id'), doc ->> '$.volume_id')`,
  `CREATE INDEX alert_resource ON alert (doc ->> '$.resource_id')`,
  `CREATE INDEX alert_state ON alert (doc ->> '$.state')`,
  `CREATE INDEX cycle_session ON cycle_record (doc ->> '$.session_id')`,
  `CREATE INDEX session_resource ON replication_session (doc ->> '$.local_resource_id')`,
  `CREATE INDEX volume_family ON volume (doc ->> '$.protection_data.family_id')`,
  `CREATE UNIQUE INDEX volume_group_name ON volume_group (lower(doc ->> '$.name')) WHERE doc ->> '$.type' <> 'Snapshot'`,
  `CREATE UNIQUE INDEX volume_group_snapshot_name ON volume_group (doc ->> '$.protection_data.parent_id', lower(doc ->> '$.name')) WHERE doc ->> '$.type' = 'Snapshot'`,
  `CREATE INDEX volume_group_id ON volume (doc ->> '$.group_id')`,
  `CREATE INDEX volume_policy ON volume (doc ->> '$.protection_policy_id')`,
  `CREATE INDEX volume_qos ON volume (doc ->> '$.qos_performance_policy_id')`,
  `CREATE INDEX volume_point ON volume (private ->> '$.point')`,
  `CREATE INDEX volume_of ON volume (private ->> '$.of')`,
  `CREATE INDEX volume_joined ON volume (private ->> '$.joined')`,
  `CREATE INDEX volume_expiry ON volume (${expiryOf}) WHERE ${expiryOf} IS NOT NULL`,
  `CREATE INDEX volume_group_expiry ON volume_group (${expiryOf}) WHERE ${expiryOf} IS NOT NULL`,
];

/** Tables that tell of what happened. Where the medium takes nothing their rows are kept in memory until it does again. */
const tellingTables = ['job', 'event', 'alert', 'audit_event'] as const satisfies readonly Table[];
export type TellingTable = (typeof tellingTables)[number];
const isTelling = (table: Table): table is TellingTable => (tellingTables as readonly Table[]).includes(table);
/** Where rows of a table are read from. */
const sourceOf = (table: Table): string => (isTelling(table) ? `temp.all_${table}` : table);

type NotAPromise<T> = T extends Promise<unknown> ? never : T;

/**
 * The catalog: what should exist, in SQLite (WAL, synchronous=FULL). One table a resource, a document a row. Changes are
 * synchronous and durable when they return; a transaction's callback cannot be asynchronous, by type. Figures that pass (progress,
 * usage) are in temporary tables in memory, merged in by the views that REST reads: they are no commits [C7.3].
 */
export class Catalog {
  readonly #db: DatabaseSync;
  readonly #directory: string | undefined;
  readonly #statements = new Map<string, StatementSync>();
  readonly #reserve: CatalogReserve | undefined;
  readonly #watchers = new Map<Table, (() => void)[]>();
  /** What waits for the medium, in order; see {@link eventually}. */
  readonly #owed: (() => void)[] = [];
  #settling = false;
  #refused: string | undefined;
  /** The file was made by this opening. */
  readonly isNew: boolean;

  /** A directory of its own, or a database that somebody else has opened: that one has no copies beside it and no reserve. */
  constructor(place: string | DatabaseSync) {
    if (typeof place === 'string') {
      const path = join(place, 'catalog.db');
      this.#directory = place;
      this.#reserve = new CatalogReserve(place);
      this.isNew = !existsSync(path);
      this.#db = new DatabaseSync(path);
      chmodSync(path, 0o600);
    } else {
      this.#db = place;
      this.isNew = this.#version() === 0;
    }
    this.#db.exec(
      'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;',
    );
    this.#migrate();
    this.#openViews();
    this.#db.exec('CREATE TEMP TABLE rate (id TEXT PRIMARY KEY NOT NULL, doc TEXT NOT NULL) WITHOUT ROWID');
    for (const [name, query] of Object.entries(namedViews)) this.#db.exec(`CREATE TEMP VIEW rest_${name} AS ${query}`);
    this.#reserve?.take();
  }

  /** `listener` is called after a row of one of these tables was put or removed; a transaction around it may still be undone. */
  watch(watched: readonly Table[], listener: () => void): void {
    for (const table of watched) this.#watchers.set(table, [...(this.#watchers.get(table) ?? []), listener]);
  }

  get<T extends Table>(table: T, id: string): Documents[T] | undefined {
    const row = this.#prepare(`SELECT doc FROM ${sourceOf(table)} WHERE id = ?`).get(id) as { doc: string } | undefined;
    return row && (JSON.parse(row.doc) as Documents[T]);
  }

  /** What is kept with a row and never shown. */
  private<T>(table: Table, id: string): T | undefined {
    const row = this.#prepare(`SELECT private FROM ${table} WHERE id = ?`).get(id) as
      | { private: string | null }
      | undefined;
    return row?.private == null ? undefined : (JSON.parse(row.private) as T);
  }

  /** All rows, or those whose attribute equals a value. `attribute` is a name of ours, never of a caller. */
  list<T extends Table>(
    table: T,
    attribute?: keyof Documents[T] & string,
    value?: SQLInputValue,
  ): readonly Documents[T][] {
    const where = attribute === undefined ? '' : ` WHERE doc ->> '$.${attribute}' = ?`;
    const rows = this.#prepare(
      `SELECT doc FROM ${sourceOf(table)}${where} ORDER BY ${isTelling(table) ? 'place' : 'rowid'}`,
    ).all(...(attribute === undefined ? [] : [value ?? null])) as { doc: string }[];
    return rows.map((row) => JSON.parse(row.doc) as Documents[T]);
  }

  /** Volumes, clones and snapshots that share blocks. */
  listFamily(family: string): readonly Documents['volume'][] {
    const rows = this.#prepare(
      `SELECT doc FROM volume WHERE doc ->> '$.protection_data.family_id' = ? ORDER BY rowid`,
    ).all(family) as { doc: string }[];
    return rows.map((row) => JSON.parse(row.doc) as Documents['volume']);
  }

  /** Snapshot sets of a group; null: of groups that there are no more. */
  listSets(group: string | null): readonly Documents['volume_group'][] {
    const rows = this.#prepare(
      `SELECT doc FROM volume_group WHERE doc ->> '$.type' = 'Snapshot' AND doc ->> '$.protection_data.parent_id' IS ? ORDER BY rowid`,
    ).all(group) as { doc: string }[];
    return rows.map((row) => JSON.parse(row.doc) as Documents['volume_group']);
  }

  /** Rows by what is kept with them and never shown. */
  listByPrivate<T extends Table>(
    table: T,
    attribute: 'point' | 'of' | 'joined',
    value: string,
  ): readonly Documents[T][] {
    const rows = this.#prepare(`SELECT doc FROM ${table} WHERE private ->> '$.${attribute}' = ? ORDER BY rowid`).all(
      value,
    ) as { doc: string }[];
    return rows.map((row) => JSON.parse(row.doc) as Documents[T]);
  }

  /** Sessions that volumes are set aside for. */
  setAsideFor(): readonly string[] {
    const rows = this.#prepare(
      `SELECT DISTINCT private ->> '$.joined' AS session FROM volume WHERE private ->> '$.joined' IS NOT NULL`,
    ).all() as { session: string }[];
    return rows.map(({ session }) => session);
  }

  /** Snapshots, or sets, whose time has come, the oldest first. */
  listExpired<T extends 'volume' | 'volume_group'>(table: T, now: string, most: number): readonly Documents[T][] {
    const rows = this.#prepare(
      `SELECT doc FROM ${table} WHERE ${expiryOf} IS NOT NULL AND ${expiryOf} <= ? ORDER BY ${expiryOf} LIMIT ?`,
    ).all(now, most) as { doc: string }[];
    return rows.map((row) => JSON.parse(row.doc) as Documents[T]);
  }

  count(table: Table): number {
    return (this.#prepare(`SELECT count(*) AS n FROM ${table}`).get() as { n: number }).n;
  }

  /**
   * Adds or replaces a row; a name that is in use is refused by the database, whatever was looked up before. What is there already costs
   * no commit: a start that finds everything as it was needs no room.
   */
  put<T extends Table>(table: T, document: Documents[T], hidden?: unknown): void {
    try {
      this.#write(() =>
        this.#prepare(
          `INSERT INTO ${table} (id, doc, private) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc, private = coalesce(excluded.private, private) WHERE doc <> excluded.doc OR coalesce(excluded.private, private) IS NOT private`,
        ).run(document.id, JSON.stringify(document), hidden === undefined ? null : JSON.stringify(hidden)),
      );
    } catch (error) {
      throw nameTaken(error, table, (document as { name?: string }).name ?? '') ?? error;
    }
    this.#changed(table);
  }

  /** Changes some attributes of a row. */
  change<T extends Table>(table: T, id: string, change: Partial<Documents[T]>): void {
    const present = this.get(table, id);
    if (present !== undefined) this.put(table, { ...present, ...change });
  }

  /** As {@link put}, for what only tells: kept in memory where the medium takes nothing now, see {@link settle}. */
  tell<T extends TellingTable>(table: T, document: Documents[T]): void {
    try {
      this.put(table, document);
    } catch (error) {
      if (!isMediumRefusal(error)) throw error;
      this.keepAside(table, document);
    }
  }

  /** Kept in memory, shown as if it were stored. */
  keepAside<T extends TellingTable>(table: T, document: Documents[T]): void {
    this.#prepare(
      'INSERT INTO temp.aside (resource, id, doc) VALUES (?, ?, ?) ON CONFLICT (resource, id) DO UPDATE SET doc = excluded.doc',
    ).run(table, document.id, JSON.stringify(document));
    this.#prepare(
      'DELETE FROM temp.aside WHERE resource = ? AND place <= (SELECT max(place) FROM temp.aside WHERE resource = ?) - ?',
    ).run(table, table, asideMost);
  }

  /** Why the medium has refused something since it was known to take everything. */
  get refused(): string | undefined {
    return this.#refused;
  }

  /**
   * Does something that nobody waits for: now, or in {@link settle} once the medium takes changes again, one such thing after the
   * other. `work` is done as a whole or not at all, and goes by what there is when it is done. Within a transaction it is part of that.
   */
  eventually(work: () => void): void {
    if (this.#db.isTransaction) return work();
    if (this.#owed.length > 0 && !this.#settling) return void this.#owed.push(work);
    try {
      work();
    } catch (error) {
      if (!isMediumRefusal(error)) throw error;
      this.#owed.push(work);
    }
  }

  /** Stores what was kept in memory, does what waits, and takes the reserve again. False: the medium does not take all of it. */
  settle(): boolean {
    const kept = this.#prepare('SELECT resource, id, doc FROM temp.aside ORDER BY place').all() as {
      resource: TellingTable;
      id: string;
      doc: string;
    }[];
    try {
      for (const { resource, id, doc } of kept) {
        this.put(resource, JSON.parse(doc) as Documents[TellingTable]);
        this.#prepare('DELETE FROM temp.aside WHERE resource = ? AND id = ?').run(resource, id);
      }
      this.#payOwed();
      this.#refused = undefined;
    } catch (error) {
      if (!isMediumRefusal(error)) throw error;
      return false;
    }
    return this.#reserve?.take() ?? true;
  }

  #payOwed(): void {
    this.#settling = true;
    try {
      for (let work = this.#owed.shift(); work !== undefined; work = this.#owed.shift()) {
        try {
          work();
        } catch (error) {
          if (isMediumRefusal(error)) this.#owed.unshift(work);
          throw error;
        }
      }
    } finally {
      this.#settling = false;
    }
  }

  remove(table: Table, id: string): void {
    this.#write(() => this.#prepare(`DELETE FROM ${table} WHERE id = ?`).run(id));
    this.still(table, id);
    this.#changed(table);
  }

  #changed(table: Table): void {
    for (const listener of this.#watchers.get(table) ?? []) listener();
  }

  /** Keeps the newest `most` rows of a table that only grows. */
  trim(table: 'job' | 'event' | 'audit_event', most: number): void {
    try {
      this.#write(() =>
        this.#prepare(`DELETE FROM ${table} WHERE rowid <= (SELECT max(rowid) FROM ${table}) - ?`).run(most),
      );
    } catch (error) {
      // A table that is too long for a while is no reason to fail.
      if (!isMediumRefusal(error) || this.#db.isTransaction) throw error;
    }
  }

  /** Keeps the newest `most` of the rows whose attribute equals a value. `attribute` is a name of ours. */
  trimWhere<T extends Table>(table: T, attribute: keyof Documents[T] & string, value: string, most: number): void {
    const matching = `doc ->> '$.${attribute}' = ?`;
    this.#write(() =>
      this.#prepare(
        `DELETE FROM ${table} WHERE ${matching} AND rowid <= (SELECT rowid FROM ${table} WHERE ${matching} ORDER BY rowid DESC LIMIT 1 OFFSET ?)`,
      ).run(value, value, most),
    );
  }

  removeWhere<T extends Table>(table: T, attribute: keyof Documents[T] & string, value: string): void {
    this.#write(() => this.#prepare(`DELETE FROM ${table} WHERE doc ->> '$.${attribute}' = ?`).run(value));
  }

  /** Attributes that pass: shown merged into the row, lost with the process. */
  live(table: Table, id: string, attributes: Readonly<Record<string, unknown>>): void {
    this.#prepare(
      'INSERT INTO temp.live (resource, id, doc) VALUES (?, ?, ?) ON CONFLICT (resource, id) DO UPDATE SET doc = excluded.doc',
    ).run(table, id, JSON.stringify(attributes));
  }

  /** How fast volumes are copied now: replaces what was measured before. */
  setRates(rates: readonly { readonly id: string; readonly [name: string]: unknown }[]): void {
    this.#prepare('DELETE FROM temp.rate').run();
    for (const rate of rates)
      this.#prepare('INSERT OR REPLACE INTO temp.rate (id, doc) VALUES (?, ?)').run(rate.id, JSON.stringify(rate));
  }

  /** Nothing of a row passes any more: it is shown as it is kept. */
  still(table: Table, id: string): void {
    this.#prepare('DELETE FROM temp.live WHERE resource = ? AND id = ?').run(table, id);
  }

  /** All of it or nothing. */
  transaction<T>(work: () => NotAPromise<T>): T {
    if (this.#db.isTransaction) return work();
    return this.#write(() => {
      this.#db.exec('BEGIN IMMEDIATE');
      try {
        const result = work();
        passFaultPoint('catalog.commit.ready');
        this.#db.exec('COMMIT');
        passFaultPoint('catalog.commit.durable');
        return result;
      } catch (error) {
        // A full disk may have ended the transaction already.
        if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
        throw error;
      }
    });
  }

  /** For the query translator: a statement with bound values over the views. */
  all(sql: string, values: readonly unknown[]): readonly Record<string, unknown>[] {
    return this.#prepare(sql).all(...(values as SQLInputValue[])) as Record<string, unknown>[];
  }

  /** A copy of the catalog as it is, beside it; the oldest beyond a few go [C7.1]. */
  backup(name: string): void {
    const directory = this.#directory;
    if (directory === undefined) return;
    const path = join(directory, `backup-${name}.db`);
    if (existsSync(path)) rmSync(path);
    this.#db.prepare('VACUUM INTO ?').run(path);
    chmodSync(path, 0o600);
    const copies = readdirSync(directory)
      .filter((file) => /^backup-.*\.db$/.test(file))
      .sort();
    for (const old of copies.slice(0, -backupsKept)) rmSync(join(directory, old));
  }

  close(): void {
    this.#statements.clear();
    this.#db.close();
  }

  /**
   * Does something that writes. On a full disk the catalog's reserve is given up and it is done once more; what the medium still
   * refuses is `no_space` or `unavailable` to callers.
   */
  #write<T>(work: () => T): T {
    if (this.#db.isTransaction) return work();
    try {
      return work();
    } catch (error) {
      if (!isFull(error) || this.#reserve?.release() !== true) throw this.#refusal(error);
    }
    try {
      return work();
    } catch (error) {
      throw this.#refusal(error);
    }
  }

  /** What a caller is told; what is no fault of the medium as it is. */
  #refusal(error: unknown): unknown {
    if (!isMediumError(error)) return error;
    this.#refused = (error as Error).message;
    return mediumRefusal(error);
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      if (this.#statements.size > 500) this.#statements.clear();
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #version(): number {
    return (this.#db.prepare('PRAGMA user_version').get() as { user_version: number }).user_version;
  }

  #migrate(): void {
    const found = this.#version();
    if (found > schemaVersion)
      throw new Error(`the catalog is of version ${found}; this program knows up to ${schemaVersion}`);
    this.transaction(() => {
      // What is new is added where it is missing; the version rises only when what is stored changes its form.
      for (const table of tables)
        this.#db.exec(
          `CREATE TABLE IF NOT EXISTS ${table} (id TEXT PRIMARY KEY NOT NULL, doc TEXT NOT NULL CHECK (json_valid(doc)), private TEXT)`,
        );
      for (const index of indexes) this.#db.exec(index.replace('INDEX ', 'INDEX IF NOT EXISTS '));
      if (found === 1) {
        // Version 1 kept a user's hash in the row itself.
        this.#db.exec(
          `INSERT INTO local_user (id, doc, private) SELECT id, json_object('id', id, 'name', doc ->> '$.name', 'role_id', doc ->> '$.role_ids[0]', 'is_built_in', json(iif(doc ->> '$.is_built_in', 'true', 'false')), 'is_default_password', json('false'), 'is_locked', json('false'), 'is_mfa_bypass', json('true'), 'mfa_alias', NULL, 'password_expiration_timestamp', NULL), json_object('hash', doc ->> '$.hash', 'changeRequired', json('false')) FROM user; DROP TABLE user;`,
        );
      }
      if (found !== schemaVersion) this.#db.exec(`PRAGMA user_version = ${schemaVersion}`);
    });
  }

  #openViews(): void {
    this.#db.exec(
      'CREATE TEMP TABLE live (resource TEXT NOT NULL, id TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (resource, id)) WITHOUT ROWID',
    );
    this.#db.exec(
      'CREATE TEMP TABLE aside (place INTEGER PRIMARY KEY, resource TEXT NOT NULL, id TEXT NOT NULL, doc TEXT NOT NULL, UNIQUE (resource, id))',
    );
    for (const table of tellingTables) {
      this.#db.exec(
        `CREATE TEMP VIEW all_${table} AS SELECT rowid AS place, id, doc FROM main.${table} WHERE id NOT IN (SELECT id FROM temp.aside WHERE resource = '${table}') UNION ALL SELECT 1000000000000 + place, id, doc FROM temp.aside WHERE resource = '${table}'`,
      );
    }
    for (const table of tables) {
      const [source, place] = isTelling(table) ? [`temp.all_${table}`, 't.place'] : [`main.${table}`, 't.rowid'];
      this.#db.exec(
        `CREATE TEMP VIEW rest_${table} AS SELECT ${place} AS place, t.id AS id, CASE WHEN l.doc IS NULL THEN t.doc ELSE json_patch(t.doc, l.doc) END AS doc FROM ${source} t LEFT JOIN temp.live l ON l.resource = '${table}' AND l.id = t.id`,
      );
    }
  }
}

function nameTaken(error: unknown, table: Table, name: string): RestError | undefined {
  if (!(error instanceof Error) || !/UNIQUE constraint failed/.test(error.message)) return undefined;
  if (table === 'local_user') return new RestError('user_name_in_use', name);
  if (table === 'host') return new RestError('host_name_in_use', name);
  if (table === 'host_group') return new RestError('host_group_name_in_use', name);
  if (/volume_snapshot_name|volume_group_snapshot_name/.test(error.message))
    return new RestError('snapshot_name_in_use', name);
  if (table === 'volume_group') return new RestError('group_name_in_use', name);
  if (table === 'policy') return new RestError('policy_name_in_use', name);
  if (table === 'replication_rule' || table === 'snapshot_rule') return new RestError('rule_name_in_use', name);
  if (table === 'io_limit_rule') return new RestError('io_rule_name_in_use', name);
  if (table === 'remote_system') return new RestError('remote_exists', name);
  return new RestError('name_in_use', name);
}
