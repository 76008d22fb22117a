import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { lmdbCheckpointStore } from '../lmdb-checkpoint-store.ts';

const self = fileURLToPath(import.meta.url);
const first = Uint8Array.of(0);
const last = Uint8Array.of(255);

/**
 * Reads everything of the checkpoint in a directory once, in a process of its own: LMDB ends the process on a file that is no
 * longer one of its own. Resolves with what is wrong, undefined when all of it can be read.
 */
export function probeCheckpoint(directory: string): Promise<string | undefined> {
  const execArgv = self.endsWith('.ts') ? ['--conditions=source'] : [];
  const child = fork(self, [directory], { execArgv, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said = `${said}${chunk.toString('utf8')}`.slice(-2_000);
  });
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => {
      if (code === 0) return resolve(undefined);
      resolve(signal === null ? said.trim() || `it ended with ${code}` : `reading it ends the process (${signal})`);
    });
  });
}

if (process.argv[1] === self && process.argv[2] !== undefined) {
  try {
    const store = lmdbCheckpointStore(process.argv[2]);
    for (const key of store.keys(first, last)) store.get(key);
    await store.close();
    process.exit(0);
  } catch (error) {
    process.stderr.write(error instanceof Error ? error.message : String(error), () => process.exit(1));
  }
}
