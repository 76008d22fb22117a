import { connect } from 'node:net';
import type { BlockEngine } from '@antipode/blocks';

const limits = {
  /** Volumes that are read from: the first block of each. */
  volumes: 16,
  answer_ms: 5_000,
} as const;
const greeting = 'NBDMAGIC';

/**
 * Shows that a data plane does what it is there for: it reads from volumes, each block against its checksum, and its host port answers.
 * Damage that was there before is no fault of the process. @throws Error that says what does not work
 */
export async function checkDataPlane(
  engine: BlockEngine,
  nbd: { readonly host: string; readonly port: number },
): Promise<void> {
  const block = new Uint8Array(4096);
  for (const { id } of engine.volumes().slice(0, limits.volumes)) {
    try {
      await engine.open(id).read(0, block);
    } catch (error) {
      if ((error as { code?: string }).code !== 'corrupt') throw error;
    }
  }
  await greeted(nbd);
}

function greeted({ host, port }: { readonly host: string; readonly port: number }): Promise<void> {
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return new Promise((resolve, reject) => {
    const socket = connect({ host: reached, port, timeout: limits.answer_ms });
    let said = '';
    socket.on('data', (chunk: Buffer) => {
      said += chunk.toString('latin1');
      if (said.length < greeting.length) return;
      socket.destroy();
      if (said.startsWith(greeting)) resolve();
      else reject(new Error('the NBD port answers with something else'));
    });
    socket.on('timeout', () => socket.destroy(new Error('the NBD port does not answer')));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the NBD port does not answer')));
  });
}
