import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Client, connect } from '../../packages/client/src/index.ts';
import { checkAnswer } from '../../packages/contract/src/testing.ts';
import { connectNbd, type NbdClient } from '../../packages/hosts/src/index.ts';

const cli = join(import.meta.dirname, '../../packages/cli/bin/antipode.js');
const password = 'Rehearsal-1';

export interface CommandResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** One real cluster of three processes, on any free ports, in a directory of its own or in one that is given. */
export class Solo {
  readonly directory: string;
  readonly password = password;
  readonly data: string;
  readonly #own: boolean;
  #child: ChildProcess | undefined;
  #said = '';
  url = '';
  /** `nbd://host:port`. */
  nbd = '';
  client!: Client;

  constructor(directory?: string) {
    this.#own = directory === undefined;
    this.directory = directory ?? mkdtempSync(join(tmpdir(), 'antipode-solo-'));
    this.data = join(this.directory, 'data');
  }

  get said(): string {
    return this.#said;
  }

  async start(...more: string[]): Promise<void> {
    const listen = ['listen', 'nbd', 'peer', 'replication'].flatMap((name) => [`--${name}`, '127.0.0.1:0']);
    const child = spawn(process.execPath, [cli, 'serve', '--data', this.data, '--name', 'Solo', ...listen, ...more], {
      env: { ...process.env, ANTIPODE_ADMIN_PASSWORD: password },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        said += chunk.toString('utf8');
        this.#said = said;
      });
    await new Promise<void>((resolve, reject) => {
      child.stdout?.on('data', () => {
        const url = /REST\s+(\S+)/.exec(said)?.[1];
        const nbd = /NBD\s+(\S+)/.exec(said)?.[1];
        if (url === undefined || nbd === undefined) return;
        this.url = url;
        this.nbd = nbd;
        resolve();
      });
      child.once('exit', (code) => reject(new Error(`the cluster ended with ${code}: ${said}`)));
    });
    this.client = await connect({
      url: this.url,
      username: 'admin',
      password,
      tls: { mode: 'insecure' },
      onAnswer: checkAnswer,
    });
  }

  /** Ends the cluster in the way that SIGTERM asks for; answers its exit code. */
  async stop(): Promise<number | null> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined) return null;
    await this.client?.close().catch(() => undefined);
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    return ended;
  }

  async remove(): Promise<void> {
    await this.stop();
    if (this.#own) rmSync(this.directory, { recursive: true, force: true });
  }

  /** The process of one kind that belongs to this cluster and to no other. */
  processOf(kind: 'dataplane' | 'management'): number {
    const parent = this.#child?.pid;
    const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim().split(' ');
    const found = children.find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`/${kind}/main`));
    if (found === undefined) throw new Error(`there is no ${kind} process`);
    return Number(found);
  }

  kill(kind: 'dataplane' | 'management'): void {
    process.kill(this.processOf(kind), 'SIGKILL');
  }

  /** The supervisor alone: what it started is left behind. */
  killSupervisor(): void {
    this.#child?.kill('SIGKILL');
  }

  device(name: string): Promise<NbdClient> {
    const { hostname, port } = new URL(this.nbd);
    return connectNbd({ host: hostname, port: Number(port), exportName: name });
  }

  uri(name: string): string {
    return `${this.nbd}/${name}`;
  }

  /** A command of the command line, on this cluster where it needs one. */
  command(...args: string[]): Promise<CommandResult> {
    const env = { ...process.env, ANTIPODE_PASSWORD: password };
    return new Promise((resolve) =>
      execFile(process.execPath, [cli, ...args], { env }, (error, out, err) =>
        resolve({ code: error === null ? 0 : Number(error.code), out, err }),
      ),
    );
  }

  async activeAlerts(
    code: string,
  ): Promise<readonly { readonly resource_id?: unknown; readonly description_l10n?: unknown }[]> {
    const filter = { state: 'eq.ACTIVE', event_code: `eq.${code}` };
    return this.client.all('alert', { select: '*', filter });
  }
}
