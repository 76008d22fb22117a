import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { CheckpointStore, Disk, DiskFile } from '@antipode/blocks';
import type { Life } from './life.ts';

const never = (): Promise<never> => new Promise(() => undefined);

/** A disk as one process sees it: what it does after its end has no effect and is not answered. */
export function mortalDisk(disk: Disk, life: Life): Disk {
  const file = (inner: DiskFile): DiskFile => {
    const alive = <T>(work: () => T): T => {
      life.mustLive();
      return work();
    };
    return {
      size: () => alive(() => inner.size()),
      readSync: (target, offset) => alive(() => inner.readSync(target, offset)),
      readAtHand: (target, offset) => alive(() => inner.readAtHand(target, offset)),
      read: (target, offset) =>
        life.alive ? inner.read(target, offset).then((got) => (life.alive ? got : never())) : never(),
      writeSync: (parts, offset) => alive(() => inner.writeSync(parts, offset)),
      truncate: (size) => alive(() => inner.truncate(size)),
      sync: () => (life.step() ? inner.sync() : never()),
      close: () => {
        if (life.alive) inner.close();
      },
    };
  };
  const alive = <T>(work: () => T): T => {
    life.mustLive();
    return work();
  };
  return {
    open: (name, mode) => alive(() => file(disk.open(name, mode))),
    list: () => alive(() => disk.list()),
    remove: (name, options) => alive(() => disk.remove(name, options)),
    rename: (from, to) => alive(() => disk.rename(from, to)),
    syncDirectory: () => (life.step() ? disk.syncDirectory() : never()),
    space: () => alive(() => disk.space()),
  };
}

export function mortalCheckpoints(store: CheckpointStore, life: Life): CheckpointStore {
  const alive = <T>(work: () => T): T => {
    life.mustLive();
    return work();
  };
  return {
    get: (key) => alive(() => store.get(key)),
    keys: (from, to) => alive(() => store.keys(from, to)),
    commit: (changes) => (life.step() ? store.commit(changes) : never()),
    close: () => (life.alive ? store.close() : never()),
  };
}

/** A connection to a database as one process sees it. What was committed before its end stays; the rest is rolled back by its closing. */
export function mortalDatabase(database: DatabaseSync, life: Life): DatabaseSync {
  const statement = (inner: StatementSync) => ({
    get: (...values: SQLInputValue[]) => {
      life.mustLive();
      return inner.get(...values);
    },
    all: (...values: SQLInputValue[]) => {
      life.mustLive();
      return inner.all(...values);
    },
    run: (...values: SQLInputValue[]) => {
      life.mustLive();
      return inner.run(...values);
    },
  });
  return {
    get isTransaction() {
      return life.alive && database.isTransaction;
    },
    prepare: (sql: string) => {
      life.mustLive();
      return statement(database.prepare(sql));
    },
    exec: (sql: string) => {
      life.mustLive();
      database.exec(sql);
    },
    close: () => undefined,
  } as unknown as DatabaseSync;
}
