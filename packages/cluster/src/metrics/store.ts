import { chmodSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Family, Sample, Sums } from './figures.ts';
import { coarserThan, endOf, type Interval, intervals, periods } from './periods.ts';

/** A series: one family of one thing. */
export interface SeriesKey {
  readonly family: Family;
  /** What it is about, as the interface calls it: `volume`, `vg`, `appliance`, … */
  readonly kind: string;
  readonly id: string;
}

export interface KeptSample extends Sample {
  /** End of the last of the periods that this stands for. */
  readonly at_ms: number;
  /** So many periods in a row were alike. */
  readonly repeat: number;
}

const version = 1;

/**
 * History of figures, in a SQLite file of its own: rows are written without waiting for the medium, because losing the last few costs a
 * gap in a graph and nothing else [C7.3]; only when the write-ahead log is emptied into the file is it waited for, without which a
 * power failure would leave a ruin. Periods in which nothing was different are one row with a count, so what is idle costs
 * next to nothing. A file that cannot be read is put aside for a new one by whoever opens it.
 */
export class MetricsStore {
  readonly #db: DatabaseSync;
  readonly #ids = new Map<string, number>();
  readonly #statements = new Map<string, StatementSync>();

  constructor(path: string) {
    this.#db = new DatabaseSync(path);
    try {
      chmodSync(path, 0o600);
      this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -2000;');
      const { user_version: found } = this.#db.prepare('PRAGMA user_version').get() as { user_version: number };
      if (found > version) throw new Error(`the metrics are of version ${found}`);
      this.#db.exec(
        `CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
         CREATE TABLE IF NOT EXISTS sample (series INTEGER NOT NULL, interval INTEGER NOT NULL, at INTEGER NOT NULL, repeat INTEGER NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (series, interval, at)) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS rolled (interval INTEGER PRIMARY KEY, at INTEGER NOT NULL);
         PRAGMA user_version = ${version};`,
      );
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** Adds the samples of one moment, all of them or none. */
  add(interval: Interval, at_ms: number, samples: Iterable<readonly [SeriesKey, Sample]>): void {
    this.#transaction(() => {
      for (const [key, sample] of samples) this.#addOne(interval, at_ms, this.#seriesId(key), sample);
    });
  }

  #addOne(interval: Interval, at_ms: number, series: number, sample: Sample): void {
    const number = intervals.indexOf(interval);
    const doc = JSON.stringify([sample.seconds, sample.sums, sample.last, sample.most ?? null]);
    const before = this.#prepare(
      'SELECT at, repeat, doc FROM sample WHERE series = ? AND interval = ? ORDER BY at DESC LIMIT 1',
    ).get(series, number) as { at: number; repeat: number; doc: string } | undefined;
    const coarser = coarserThan(interval);
    const continues =
      before !== undefined &&
      before.doc === doc &&
      before.at === at_ms - periods[interval].length_ms &&
      // A row never stands for periods on both sides of a rollup's edge.
      (coarser === undefined || endOf(coarser, before.at) === endOf(coarser, at_ms));
    if (continues)
      this.#prepare('UPDATE sample SET at = ?, repeat = ? WHERE series = ? AND interval = ? AND at = ?').run(
        at_ms,
        before.repeat + 1,
        series,
        number,
        before.at,
      );
    else
      this.#prepare('INSERT OR REPLACE INTO sample (series, interval, at, repeat, doc) VALUES (?, ?, ?, 1, ?)').run(
        series,
        number,
        at_ms,
        doc,
      );
  }

  /** What is kept of a series, oldest first. */
  history(key: SeriesKey, interval: Interval): readonly KeptSample[] {
    const rows = this.#prepare(
      'SELECT s.at, s.repeat, s.doc FROM sample s JOIN series n ON n.id = s.series WHERE n.name = ? AND s.interval = ? ORDER BY s.at',
    ).all(nameOf(key), intervals.indexOf(interval)) as { at: number; repeat: number; doc: string }[];
    return rows.map(kept);
  }

  /** Everything with an end within `(after, upTo]`, series by series. */
  *within(
    interval: Interval,
    after_ms: number,
    upTo_ms: number,
  ): Generator<readonly [SeriesKey, readonly KeptSample[]]> {
    const names = this.#prepare(
      'SELECT DISTINCT n.id, n.name FROM sample s JOIN series n ON n.id = s.series WHERE s.interval = ? AND s.at > ? AND s.at <= ?',
    ).all(intervals.indexOf(interval), after_ms, upTo_ms) as { id: number; name: string }[];
    for (const { id, name } of names) {
      const rows = this.#prepare(
        'SELECT at, repeat, doc FROM sample WHERE series = ? AND interval = ? AND at > ? AND at <= ? ORDER BY at',
      ).all(id, intervals.indexOf(interval), after_ms, upTo_ms) as { at: number; repeat: number; doc: string }[];
      yield [keyOf(name), rows.map(kept)];
    }
  }

  /** Up to when an interval has been rolled up. */
  rolledUpTo(interval: Interval): number | undefined {
    const row = this.#prepare('SELECT at FROM rolled WHERE interval = ?').get(intervals.indexOf(interval));
    return (row as { at: number } | undefined)?.at;
  }

  setRolledUpTo(interval: Interval, at_ms: number): void {
    this.#prepare('INSERT OR REPLACE INTO rolled (interval, at) VALUES (?, ?)').run(intervals.indexOf(interval), at_ms);
  }

  /** Lets go of what is older than it is kept for, and of series of which nothing is left. */
  expire(now_ms: number): void {
    this.#transaction(() => {
      for (const [number, interval] of intervals.entries())
        this.#prepare('DELETE FROM sample WHERE interval = ? AND at <= ?').run(
          number,
          now_ms - periods[interval].kept_ms,
        );
      this.#prepare('DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM sample WHERE sample.series = series.id)').run();
    });
    this.#ids.clear();
  }

  close(): void {
    this.#statements.clear();
    this.#db.close();
  }

  #transaction(work: () => void): void {
    this.#db.exec('BEGIN');
    try {
      work();
      this.#db.exec('COMMIT');
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  #seriesId(key: SeriesKey): number {
    const name = nameOf(key);
    const known = this.#ids.get(name);
    if (known !== undefined) return known;
    this.#prepare('INSERT OR IGNORE INTO series (name) VALUES (?)').run(name);
    const { id } = this.#prepare('SELECT id FROM series WHERE name = ?').get(name) as { id: number };
    this.#ids.set(name, id);
    return id;
  }

  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#db.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }
}

const nameOf = ({ family, kind, id }: SeriesKey): string => `${family}/${kind}/${id}`;

function keyOf(name: string): SeriesKey {
  const [family, kind, ...id] = name.split('/');
  return { family: family as Family, kind: kind ?? '', id: id.join('/') };
}

function kept(row: { readonly at: number; readonly repeat: number; readonly doc: string }): KeptSample {
  const [seconds, sums, last, most] = JSON.parse(row.doc) as [number, Sums, Sums, Sums | null];
  return { at_ms: row.at, repeat: row.repeat, seconds, sums, last, ...(most !== null && { most }) };
}
