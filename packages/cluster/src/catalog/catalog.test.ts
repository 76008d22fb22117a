import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { volume } from '../rest/testing/rest-fixture.ts';
import { Catalog } from './catalog.ts';
import { tables, timestamp } from './documents.ts';
import { isMediumRefusal } from './medium-errors.ts';
import { FullDatabase } from './testing/full-database.ts';

let directory: string;
let open: Catalog[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'catalog-'));
  open = [];
});
afterEach(() => {
  for (const catalog of open) catalog.close();
  rmSync(directory, { recursive: true, force: true });
});

function catalogIn(place = directory): Catalog {
  const catalog = new Catalog(place);
  open.push(catalog);
  return catalog;
}
function reopened(catalog: Catalog): Catalog {
  catalog.close();
  open.splice(open.indexOf(catalog), 1);
  return catalogIn();
}
const shown = (catalog: Catalog, table: string, id: string): Record<string, unknown> => {
  const row = catalog.all(`SELECT doc FROM rest_${table} WHERE id = ?`, [id])[0];
  return JSON.parse(String(row?.doc)) as Record<string, unknown>;
};
const snapshot = (n: number, name: string, parent: string) => {
  const present = volume(n, { name, type: 'Snapshot' });
  return { ...present, protection_data: { ...present.protection_data, family_id: parent, parent_id: parent } };
};

describe('the file', () => {
  it('is of its owner alone, with what belongs to it', () => {
    const catalog = catalogIn();
    catalog.put('volume', volume(1));
    const files = readdirSync(directory);
    expect(files).toContain('catalog.db-wal');
    for (const file of files) expect([file, statSync(join(directory, file)).mode & 0o077]).toEqual([file, 0]);
  });

  it('is written ahead and synced at every commit [C7.3]', () => {
    const catalog = catalogIn();
    expect(catalog.all('PRAGMA journal_mode', [])[0]).toEqual({ journal_mode: 'wal' });
    expect(catalog.all('PRAGMA synchronous', [])[0]).toEqual({ synchronous: 2 });
    expect(catalog.all('PRAGMA foreign_keys', [])[0]).toEqual({ foreign_keys: 1 });
  });

  it('of the first version is taken over: users keep their passwords, out of sight', () => {
    const path = join(directory, 'catalog.db');
    const old = new DatabaseSync(path);
    old.exec(
      'CREATE TABLE user (id TEXT PRIMARY KEY NOT NULL, doc TEXT NOT NULL, private TEXT); PRAGMA user_version = 1;',
    );
    const row = { id: '1', name: 'admin', hash: '$argon2id$x', role_ids: ['1'], is_built_in: true };
    old.prepare('INSERT INTO user (id, doc) VALUES (?, ?)').run('1', JSON.stringify(row));
    old.close();
    const catalog = catalogIn();
    expect(catalog.get('local_user', '1')).toMatchObject({ name: 'admin', role_id: '1', is_built_in: true });
    expect(JSON.stringify(catalog.get('local_user', '1'))).not.toContain('argon2');
    expect(catalog.private('local_user', '1')).toEqual({ hash: '$argon2id$x', changeRequired: false });
    expect(reopened(catalog).count('local_user')).toBe(1);
  });

  it('says whether this opening made it', () => {
    const catalog = catalogIn();
    expect(catalog.isNew).toBe(true);
    expect(reopened(catalog).isNew).toBe(false);
  });

  it('of a later version is refused and left as it is', () => {
    const catalog = catalogIn();
    catalog.put('volume', volume(1));
    catalog.close();
    open.length = 0;
    const path = join(directory, 'catalog.db');
    const raw = new DatabaseSync(path);
    raw.exec('PRAGMA user_version = 99');
    raw.close();
    expect(() => new Catalog(directory)).toThrow('the catalog is of version 99');
    const again = new DatabaseSync(path);
    expect(again.prepare('SELECT count(*) AS n FROM volume').get()).toEqual({ n: 1 });
    again.close();
  });

  it('opening twice changes nothing of the tables', () => {
    const schema = (catalog: Catalog) => catalog.all('SELECT sql FROM main.sqlite_schema ORDER BY name', []);
    const catalog = catalogIn();
    const before = schema(catalog);
    expect(before.length).toBeGreaterThan(tables.length);
    expect(schema(reopened(catalog))).toEqual(before);
  });

  it('damaged beyond SQLite’s header is refused, never taken for a new one', () => {
    writeFileSync(join(directory, 'catalog.db'), 'this was a catalog once. '.repeat(400));
    expect(() => new Catalog(directory)).toThrow(/not a database/);
  });
});

describe('rows', () => {
  it('keep what is hidden when what is shown changes', () => {
    const catalog = catalogIn();
    catalog.put('volume', volume(1), { point: 'p' });
    catalog.put('volume', volume(1, { description: 'other' }));
    catalog.change('volume', 'v1', { size: 8192 });
    expect(catalog.private('volume', 'v1')).toEqual({ point: 'p' });
    expect(catalog.get('volume', 'v1')).toMatchObject({ description: 'other', size: 8192 });
    expect(JSON.stringify(shown(catalog, 'volume', 'v1'))).not.toContain('"point"');
  });

  it('changing what is not there makes nothing', () => {
    const catalog = catalogIn();
    catalog.change('volume', 'v1', { size: 8192 });
    expect(catalog.count('volume')).toBe(0);
  });

  it('lists by an attribute, whatever stands in the value', () => {
    const catalog = catalogIn();
    const name = `'; DROP TABLE volume; --`;
    catalog.put('volume', volume(1, { name }));
    catalog.put('volume', volume(2));
    expect(catalog.list('volume', 'name', name).map(({ id }) => id)).toEqual(['v1']);
    expect(catalog.list('volume').map(({ id }) => id)).toEqual(['v1', 'v2']);
  });

  it('names are taken by the database: volumes in the cluster, snapshots in their family', () => {
    const catalog = catalogIn();
    catalog.put('volume', volume(1, { name: 'a' }));
    const refused = (work: () => void, message: string) => expect(work).toThrow(message);
    refused(() => catalog.put('volume', volume(2, { name: 'a', type: 'Clone' })), 'The name a is in use.');
    catalog.put('volume', snapshot(3, 'a', 'v1'));
    refused(() => catalog.put('volume', snapshot(4, 'a', 'v1')), 'The snapshot name a is in use.');
    catalog.put('volume', snapshot(5, 'a', 'v9'));
    expect(catalog.list('volume').map(({ id }) => id)).toEqual(['v1', 'v3', 'v5']);
  });

  it('a table that only grows keeps its newest', () => {
    const catalog = catalogIn();
    for (let n = 0; n < 20; n++) catalog.put('audit_event', { id: `e${n}` });
    catalog.put('audit_event', { id: 'e3', again: true });
    catalog.trim('audit_event', 5);
    expect(catalog.list('audit_event').map(({ id }) => id)).toEqual(['e15', 'e16', 'e17', 'e18', 'e19']);
  });
});

describe('transactions', () => {
  it('are all or nothing', () => {
    const catalog = catalogIn();
    expect(() =>
      catalog.transaction(() => {
        catalog.put('volume', volume(1));
        throw new Error('no');
      }),
    ).toThrow('no');
    expect(catalog.count('volume')).toBe(0);
    catalog.transaction(() => catalog.put('volume', volume(2)));
    expect(catalog.count('volume')).toBe(1);
  });

  it('within one another are one', () => {
    const catalog = catalogIn();
    expect(() =>
      catalog.transaction(() => {
        catalog.transaction(() => catalog.put('volume', volume(1)));
        throw new Error('no');
      }),
    ).toThrow('no');
    expect(catalog.count('volume')).toBe(0);
  });

  it('take no asynchronous work, by type', () => {
    const catalog = catalogIn();
    // @ts-expect-error a transaction would end before the work does
    const asynchronous = () => catalog.transaction(async () => 1);
    expect(asynchronous).toBeTypeOf('function');
    expect(catalog.transaction(() => 1)).toBe(1);
  });
});

describe('figures that pass', () => {
  it('are shown, cost no commit and end with the process [C7.3]', () => {
    const catalog = catalogIn();
    catalog.put('volume', volume(1));
    const wal = () => readFileSync(join(directory, 'catalog.db-wal')).length;
    const before = wal();
    for (let n = 0; n < 500; n++) catalog.live('volume', 'v1', { logical_used: n });
    expect(wal()).toBe(before);
    expect(shown(catalog, 'volume', 'v1')).toMatchObject({ logical_used: 499, name: 'vol-001' });
    expect(catalog.get('volume', 'v1')).not.toHaveProperty('logical_used');
    expect(shown(reopened(catalog), 'volume', 'v1')).not.toHaveProperty('logical_used');
  });

  it('go with their row', () => {
    const catalog = catalogIn();
    catalog.put('volume', volume(1));
    catalog.live('volume', 'v1', { logical_used: 1 });
    catalog.remove('volume', 'v1');
    catalog.put('volume', volume(1));
    expect(shown(catalog, 'volume', 'v1')).not.toHaveProperty('logical_used');
  });
});

describe('after a crash', () => {
  it('what a call returned from is there, what was under way is not [C7.3]', () => {
    const catalog = catalogIn();
    catalog.put('intent', { id: 'i1', kind: 'k', data: { n: 1 } });
    const after = mkdtempSync(join(tmpdir(), 'catalog-crash-'));
    try {
      catalog.transaction(() => {
        catalog.put('intent', { id: 'i2', kind: 'k', data: {} });
        // The files as a kill would leave them now: no checkpoint, no close.
        for (const file of ['catalog.db', 'catalog.db-wal'])
          writeFileSync(join(after, file), readFileSync(join(directory, file)));
      });
      const found = catalogIn(after);
      expect(found.list('intent')).toEqual([{ id: 'i1', kind: 'k', data: { n: 1 } }]);
    } finally {
      rmSync(after, { recursive: true, force: true });
    }
  });

  it('a log that was cut keeps whole commits only [C7.3]', () => {
    const catalog = catalogIn();
    for (let n = 1; n <= 8; n++)
      catalog.transaction(() => {
        catalog.put('volume', volume(n));
        catalog.put('intent', { id: `i${n}`, kind: 'k', data: {} });
      });
    const whole = readFileSync(join(directory, 'catalog.db-wal'));
    const base = readFileSync(join(directory, 'catalog.db'));
    const counts = new Set<number>();
    for (let part = 0; part <= 10; part++) {
      const after = mkdtempSync(join(tmpdir(), 'catalog-cut-'));
      writeFileSync(join(after, 'catalog.db'), base);
      const path = join(after, 'catalog.db-wal');
      writeFileSync(path, whole);
      truncateSync(path, Math.floor((whole.length * part) / 10));
      const found = new Catalog(after);
      expect(found.count('volume')).toBe(found.count('intent'));
      counts.add(found.count('volume'));
      found.close();
      rmSync(after, { recursive: true, force: true });
    }
    expect(counts.has(0) && counts.has(8) && counts.size > 2).toBe(true);
  });
});

describe('copies', () => {
  it('are whole catalogs of their owner alone; the newest three stay [C7.1]', () => {
    const catalog = catalogIn();
    for (let n = 1; n <= 5; n++) {
      catalog.put('volume', volume(n), { n });
      catalog.backup(`2026-01-0${n}`);
    }
    catalog.backup('2026-01-05');
    const copies = readdirSync(directory)
      .filter((file) => file.startsWith('backup-'))
      .sort();
    expect(copies).toEqual(['backup-2026-01-03.db', 'backup-2026-01-04.db', 'backup-2026-01-05.db']);
    for (const copy of copies) expect(statSync(join(directory, copy)).mode & 0o777).toBe(0o600);
    const after = mkdtempSync(join(tmpdir(), 'catalog-back-'));
    try {
      writeFileSync(join(after, 'catalog.db'), readFileSync(join(directory, 'backup-2026-01-04.db')));
      const found = catalogIn(after);
      expect([found.isNew, found.count('volume'), found.private('volume', 'v4')]).toEqual([false, 4, { n: 4 }]);
      expect(() => found.put('volume', volume(9, { name: 'vol-001' }))).toThrow('The name vol-001 is in use.');
    } finally {
      rmSync(after, { recursive: true, force: true });
    }
  });
});

it('what is there already costs no commit: a start on a full disk needs no room for it', () => {
  const catalog = catalogIn();
  const besides = new DatabaseSync(join(directory, 'catalog.db'));
  const version = () => besides.prepare('PRAGMA data_version').get()?.data_version;
  try {
    catalog.put('volume', volume(1), { point: 'p' });
    const before = version();
    catalog.put('volume', volume(1));
    catalog.transaction(() => catalog.put('volume', volume(1), { point: 'p' }));
    expect(version()).toBe(before);
    catalog.put('volume', volume(1), { point: 'another' });
    expect(version()).not.toBe(before);
    expect(catalog.private('volume', volume(1).id)).toEqual({ point: 'another' });
  } finally {
    besides.close();
  }
});

describe('a medium that takes nothing', () => {
  it('refuses what is asked for, does the rest in order once it takes it, and says so until then [C7.3]', () => {
    const database = new FullDatabase(join(directory, 'full.db'));
    const catalog = new Catalog(database);
    open.push(catalog);
    const done: string[] = [];
    const later = (id: number) =>
      catalog.eventually(() => {
        catalog.put('volume', volume(id));
        done.push(`v${id}`);
        catalog.eventually(() => void done.push(`after v${id}`));
      });
    later(1);
    expect(catalog.refused).toBe(undefined);
    database.isFull = true;
    const put = (): unknown => {
      try {
        return catalog.transaction(() => catalog.put('volume', volume(9)));
      } catch (error) {
        return error;
      }
    };
    expect(isMediumRefusal(put())).toBe(true);
    later(2);
    later(3);
    expect(catalog.settle()).toBe(false);
    expect(catalog.refused).toContain('full');
    expect(done).toEqual(['v1', 'after v1']);
    expect(catalog.list('volume').length).toBe(1);
    database.isFull = false;
    // Nothing overtakes what waits.
    later(4);
    expect(done).toEqual(['v1', 'after v1']);
    expect(catalog.settle()).toBe(true);
    expect(catalog.refused).toBe(undefined);
    expect(done.filter((name) => !name.startsWith('after'))).toEqual(['v1', 'v2', 'v3', 'v4']);
    expect(done.length).toBe(8);
    expect(put()).toBe(undefined);
  });

  it('has what fails for another reason told at once, and forgets it', () => {
    const database = new FullDatabase(join(directory, 'full.db'));
    const catalog = new Catalog(database);
    open.push(catalog);
    const wrong = () => {
      throw new Error('wrong');
    };
    expect(() => catalog.eventually(wrong)).toThrow('wrong');
    database.isFull = true;
    catalog.eventually(() => catalog.put('volume', volume(1)));
    catalog.eventually(wrong);
    database.isFull = false;
    expect(() => catalog.settle()).toThrow('wrong');
    expect(catalog.settle()).toBe(true);
    expect(catalog.list('volume').length).toBe(1);
  });
});

it('moments are written in UTC with an explicit offset', () => {
  expect(timestamp(Date.UTC(2026, 1, 3, 4, 5, 6, 7))).toBe('2026-02-03T04:05:06.007+00:00');
});
