import { assert } from '@antipode/base';
import { MemoryDevice } from '../../testing.ts';
import { connectNbd, type NbdClient, type NbdClientSetting } from '../client.ts';
import type { ExportSource } from '../exports.ts';
import { type NbdConnectionEvent, type NbdServer, type NbdServerSetting, startNbdServer } from '../server.ts';

export const MIB = 1024 * 1024;

/** A server on a free loopback port, with what a test wants to know about it. */
export interface Served {
  readonly server: NbdServer;
  readonly device: MemoryDevice;
  readonly events: NbdConnectionEvent[];
  readonly port: number;
  readonly uri: string;
  connect(setting?: Partial<NbdClientSetting>): Promise<NbdClient>;
  /** Resolves when an event that fits has come (also an earlier one). */
  event(fits: (event: NbdConnectionEvent) => boolean): Promise<NbdConnectionEvent>;
  stop(): Promise<void>;
}

/** One device under the name `vol` and the alias `vol-id`; the empty name opens nothing. */
export function exportsOf(device: MemoryDevice): ExportSource {
  return {
    list: () => [{ name: 'vol', aliases: ['vol-id'], description: 'a volume' }],
    open: (name) =>
      name === 'vol' || name === 'vol-id'
        ? { name: 'vol', description: 'a volume', device: device.opened() }
        : undefined,
  };
}

export async function serve(
  setting: Partial<NbdServerSetting> & { size?: number; device?: MemoryDevice } = {},
): Promise<Served> {
  const device = setting.device ?? new MemoryDevice(setting.size ?? 8 * MIB);
  const events: NbdConnectionEvent[] = [];
  const waiters = new Set<() => void>();
  const server = await startNbdServer({
    listen: { host: '127.0.0.1', port: 0 },
    exports: exportsOf(device),
    ...setting,
    onConnection: (event) => {
      events.push(event);
      for (const waiter of [...waiters]) waiter();
    },
  });
  const { port } = server.address();
  const clients: NbdClient[] = [];
  return {
    server,
    device,
    events,
    port,
    uri: `nbd://127.0.0.1:${port}/vol`,
    async connect(options = {}) {
      const client = await connectNbd({ host: '127.0.0.1', port, exportName: 'vol', ...options });
      clients.push(client);
      return client;
    },
    event(fits) {
      return new Promise((resolve) => {
        const look = () => {
          const found = events.find(fits);
          if (found === undefined) return;
          waiters.delete(look);
          resolve(found);
        };
        waiters.add(look);
        look();
      });
    },
    async stop() {
      await Promise.all(clients.map((client) => client.close()));
      await server.close(1_000);
      assert(server.connections().length === 0, 'a closed server has no connections');
      assert(device.timesOpen === 0, 'every device that was opened was closed once');
    },
  };
}

/** Bytes that differ from place to place and never form a zero block. */
export function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let at = 0; at < length; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[at] = (state >>> 24) | 1;
  }
  return bytes;
}
