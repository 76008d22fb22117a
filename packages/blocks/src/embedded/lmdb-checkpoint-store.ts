import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { assert } from '@antipode/base';
import { open, type RootDatabase } from 'lmdb';
import { BlockError } from '../port/errors.ts';
import type { CheckpointStore } from './checkpoint-store.ts';

const FILE_NAME = 'checkpoint.mdb';
/** Address space set aside at first; the library makes it larger when it is used up. */
const MAP_BYTES = 64 * 1024 * 1024;
/** Reads happen on one thread of one process; a few slots are for tools that look in. */
const READERS_MAX = 16;
/** LMDB's own bound for keys, with its default page size. */
const KEY_BYTES_MAX = 1978;

/**
 * What was committed and not flushed is never trusted at an opening. By itself the library does trust it while the machine has not
 * booted since; but a medium can lose writes under a system that goes on (a write-back error, a disk that was away), and the tree
 * that is found then is a ruin. Not in the library's types.
 */
const flushedOnly: object = { safeRestore: true };

/**
 * The index checkpoint in LMDB: binary keys and values, in one file of a directory that only its owner may enter. A commit
 * is one transaction, written off this thread; it resolves when it is flushed, for a mere commit may be lost with the power.
 */
export function lmdbCheckpointStore(directory: string): CheckpointStore {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, FILE_NAME);
  const database: RootDatabase<Buffer, Buffer> = open({
    path,
    keyEncoding: 'binary',
    encoding: 'binary',
    mapSize: MAP_BYTES,
    maxReaders: READERS_MAX,
    ...flushedOnly,
  });
  chmodSync(path, 0o600);
  let closed = false;
  const usable = () => assert(!closed, 'the checkpoint store is open');
  return {
    get(key) {
      usable();
      const value = database.getBinary(asBuffer(key));
      return value === undefined ? undefined : new Uint8Array(value);
    },
    *keys(from, to) {
      usable();
      for (const key of database.getKeys({ start: asBuffer(from), end: asBuffer(to) })) yield new Uint8Array(key);
    },
    async commit(changes) {
      usable();
      try {
        // What one batch names is one transaction. Not `transaction()`: with thousands of changes it never ends.
        await database.batch(() => {
          for (const { key, value } of changes) {
            assert(key.length > 0 && key.length <= KEY_BYTES_MAX, 'a key within the bounds of LMDB');
            if (value === undefined) void database.remove(asBuffer(key));
            else void database.put(asBuffer(key), asBuffer(value));
          }
        });
        await database.flushed;
      } catch (error) {
        throw new BlockError('io_error', 'the checkpoint could not be stored', { cause: error });
      }
    },
    async close() {
      if (closed) return;
      closed = true;
      await database.close();
    },
  };
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
