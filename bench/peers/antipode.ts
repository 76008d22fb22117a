import { fork } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, connect } from '@antipode/client';
import type { ClusterReady } from '@antipode/cluster';
import type { Bench } from '../runner/bench.ts';
import { signalGroup } from '../runner/children.ts';
import { loopback } from '../runner/ports.ts';
import { Server } from './server.ts';

/** The built product, as a user runs it. */
export const cli = join(import.meta.dirname, '../../packages/cli/bin/antipode.js');
const password = 'Measured-1';

/** One cluster of the product on loopback addresses, with a client that is logged in. */
export class Antipode extends Server {
  readonly client: Client;
  readonly url: string;
  readonly username = 'admin';
  readonly password = password;
  readonly nbd: { readonly host: string; readonly port: number };
  readonly dir: string;

  private constructor(bench: Bench, child: Server['child'], dir: string, ready: ClusterReady, client: Client) {
    super(bench, { name: 'antipode', about: `antipode ${version()}, its defaults, checksums on`, child });
    this.client = client;
    this.dir = dir;
    this.url = ready.url;
    this.nbd = ready.nbd;
  }

  /** Starts a cluster on a data directory, new or known; `more`: settings. @throws with the last line of its log. */
  static async start(bench: Bench, dir: string, name = 'Bench', more: readonly string[] = []): Promise<Antipode> {
    const logFile = `${dir}.log`;
    const log = openSync(logFile, 'a', 0o600);
    const anyPort = `${loopback}:0`;
    const listen = ['--listen', '--nbd', '--peer', '--replication'].flatMap((flag) => [flag, anyPort]);
    const child = bench.children.adopt(
      fork(cli, ['serve', '--data', dir, '--name', name, '--log-level', 'warn', ...listen, ...more], {
        detached: true,
        stdio: ['ignore', log, log, 'ipc'],
        execArgv: [],
        env: { ...withoutSettings(process.env), ANTIPODE_ADMIN_PASSWORD: password },
      }),
    );
    closeSync(log);
    const ready = await new Promise<ClusterReady>((resolve, reject) => {
      child.once('message', (message) => {
        if (isReady(message)) resolve(message.ready);
        else reject(new Error('antipode serve sent an unknown message'));
      });
      child.once('exit', () =>
        reject(new Error(`antipode serve ended: ${readFileSync(logFile, 'utf8').trimEnd().split('\n').at(-1)}`)),
      );
      bench.signal.addEventListener('abort', () => reject(bench.signal.reason), { once: true });
    });
    const client = await connect({ url: ready.url, username: 'admin', password, tls: { mode: 'insecure' } });
    return new Antipode(bench, child, dir, ready, client);
  }

  /** Makes a volume; answers its id. */
  createVolume(name: string, size: number): Promise<string> {
    return this.client.create('volume', { name, size });
  }

  uriOf(volume: string): string {
    return `nbd://${this.nbd.host}:${this.nbd.port}/${volume}`;
  }

  async snapshot(volumeId: string, name: string): Promise<void> {
    await this.client.action('volume', volumeId, 'snapshot', { name });
  }

  override async stop(): Promise<void> {
    await this.client.close().catch(() => undefined);
    await super.stop();
  }

  /** Ends it as a power cut would. */
  kill(): void {
    signalGroup(this.child, 'SIGKILL');
  }
}

export const isBuilt = (): boolean => existsSync(join(import.meta.dirname, '../../packages/cli/dist/main.js'));

/** Version of the product, from its manifest. */
export function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : '';
}

/** The environment without the user's own settings of the product: the defaults are measured. */
const withoutSettings = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('ANTIPODE_')));

const isReady = (message: unknown): message is { readonly ready: ClusterReady } =>
  typeof message === 'object' && message !== null && 'kind' in message && message.kind === 'ready';
