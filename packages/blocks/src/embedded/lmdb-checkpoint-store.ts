import { mkdirSync } from 'node:fs';
import { open, type RootDatabase } from 'lmdb';
import type { CheckpointStore } from './checkpoint-store.ts';

/** The index checkpoint in LMDB: binary keys and values. Only `flushed` means durable, so that is what is awaited. */
export function lmdbCheckpointStore(directory: string): CheckpointStore {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const database: RootDatabase<Buffer, Buffer> = open({
    path: directory,
    keyEncoding: 'binary',
    encoding: 'binary',
    maxReaders: 16,
  });
  return {
    get: (key) => {
      const value = database.getBinary(asBuffer(key));
      return value === undefined ? undefined : new Uint8Array(value);
    },
    *keys(from, to) {
      for (const key of database.getKeys({ start: asBuffer(from), end: asBuffer(to) })) yield new Uint8Array(key);
    },
    async commit(changes) {
      await database.transaction(() => {
        for (const { key, value } of changes) {
          if (value === undefined) void database.remove(asBuffer(key));
          else void database.put(asBuffer(key), asBuffer(value));
        }
      });
      await database.flushed;
    },
    close: () => database.close(),
  };
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
