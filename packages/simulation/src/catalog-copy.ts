import type { DatabaseSync, SQLInputValue } from 'node:sqlite';

/** A copy of a whole catalog, as a cluster keeps some beside it. */
export type CatalogCopy = ReadonlyMap<string, readonly Record<string, SQLInputValue>[]>;

const tablesOf = (database: DatabaseSync): readonly string[] =>
  (database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all() as { name: string }[]).map(
    ({ name }) => name,
  );

export function copyCatalog(database: DatabaseSync): CatalogCopy {
  const rowsOf = (table: string) => database.prepare(`SELECT * FROM ${table}`).all() as Record<string, SQLInputValue>[];
  return new Map(tablesOf(database).map((table) => [table, rowsOf(table)]));
}

/** The copy takes the place of what is there. */
export function putCopyBack(database: DatabaseSync, copy: CatalogCopy): void {
  database.exec('PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE');
  for (const table of tablesOf(database)) {
    database.exec(`DELETE FROM ${table}`);
    for (const row of copy.get(table) ?? []) {
      const columns = Object.keys(row);
      const places = columns.map(() => '?').join();
      database.prepare(`INSERT INTO ${table} (${columns.join()}) VALUES (${places})`).run(...Object.values(row));
    }
  }
  database.exec('COMMIT');
}
