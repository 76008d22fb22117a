import { DatabaseSync, type StatementSync } from 'node:sqlite';

/** What SQLite says on a disk without room. */
const full = () => Object.assign(new Error('database or disk is full'), { code: 'ERR_SQLITE_ERROR', errcode: 13 });

/** A database on a medium that can be full: then it takes nothing besides what is kept in memory, as SQLite does there. */
export class FullDatabase extends DatabaseSync {
  isFull = false;

  override exec(sql: string): void {
    if (this.isFull && sql === 'COMMIT') throw full();
    super.exec(sql);
  }

  override prepare(sql: string): StatementSync {
    const statement = super.prepare(sql);
    const isStored = /^(INSERT|DELETE|UPDATE)\b/.test(sql) && !/^\w+( OR \w+)? (INTO|FROM) temp\./.test(sql);
    if (isStored) {
      const run = statement.run.bind(statement) as (...values: unknown[]) => ReturnType<StatementSync['run']>;
      statement.run = (...values: unknown[]) => {
        // Within a transaction it is the commit that needs room.
        if (this.isFull && !this.isTransaction) throw full();
        return run(...values);
      };
    }
    return statement;
  }
}
