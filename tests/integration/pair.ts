import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { systemClock } from '../../packages/base/src/index.ts';
import { lab as labCommand } from '../../packages/cli/src/commands/lab.ts';
import { ApiError, type Client, connect } from '../../packages/client/src/index.ts';
import { checkAnswer } from '../../packages/contract/src/testing.ts';
import { connectNbd, type NbdClient } from '../../packages/hosts/src/index.ts';
import { freePorts } from './free-ports.ts';

export const MiB = 1024 * 1024;
const root = join(import.meta.dirname, '../..');
const cli = join(root, 'packages/cli/bin/antipode.js');
const run = promisify(execFile);

export interface TestSite {
  readonly name: string;
  readonly url: string;
  readonly nbd: string;
  readonly client: Client;
  readonly password: string;
  open(volume: string): Promise<NbdClient>;
}

/** A lab of its own: two real clusters, each of three processes, over real sockets; on any free ports. */
export class Pair {
  readonly directory = mkdtempSync(join(tmpdir(), 'antipode-pair-'));
  #lab: ChildProcess | undefined;
  #said = '';
  a!: TestSite;
  b!: TestSite;

  /** Orders to die, for whichever process of this lab passes a point first. */
  readonly #orders = join(this.directory, 'orders');
  #ports = 0;
  #more: readonly string[] = [];

  /** `more`: options of the lab. */
  async start(...more: string[]): Promise<void> {
    this.#ports = await freePorts(24);
    this.#more = more;
    await this.#run();
  }

  /** Ends the lab and starts it again over what is there; `down` runs meanwhile. */
  async startAgain(down: () => Promise<void> = async () => undefined): Promise<void> {
    await this.#end();
    await down();
    await this.#run();
  }

  async #run(): Promise<void> {
    const port = this.#ports;
    const more = this.#more;
    const args = ['lab', '--dir', this.directory, '--base-port', String(port), '--json', ...more];
    mkdirSync(this.#orders, { recursive: true });
    const lab = spawn(process.execPath, [cli, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, FAULT_POINTS_OF_ANTIPODE: this.#orders },
    });
    this.#lab = lab;
    lab.stderr?.on('data', (chunk: Buffer) => {
      this.#said += chunk.toString('utf8');
    });
    const line = await new Promise<string>((resolve, reject) => {
      createInterface({ input: lab.stdout! }).once('line', resolve);
      lab.once('exit', (code) => reject(new Error(`the lab ended (${code}): ${this.#said}`)));
    });
    const { sites } = JSON.parse(line) as {
      sites: { name: string; url: string; username: string; password: string; nbd: string }[];
    };
    const [a, b] = await Promise.all(
      sites.map(async (site): Promise<TestSite> => {
        const { hostname, port: nbdPort } = new URL(site.nbd);
        return {
          ...site,
          client: await connect({
            url: site.url,
            username: site.username,
            password: site.password,
            tls: { mode: 'insecure' },
            onAnswer: checkAnswer,
          }),
          open: (volume) => connectNbd({ host: hostname, port: Number(nbdPort), exportName: volume }),
        };
      }),
    );
    this.a = a!;
    this.b = b!;
  }

  async stop(): Promise<void> {
    await this.#end();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Ends the lab, within bounds; what did not end by itself is said aloud. */
  async #end(): Promise<void> {
    const lab = this.#lab;
    if (lab !== undefined && lab.exitCode === null && lab.signalCode === null) {
      const ended = new Promise((resolve) => lab.once('exit', resolve));
      lab.kill('SIGTERM');
      if (!(await within(ended, 60_000))) {
        const { stdout } = await run('ps', ['-eo', 'pid,ppid,stat,etimes,wchan:20,args', '--forest']);
        console.error(`the lab did not stop within 60 s of SIGTERM and is killed\n${this.#said}\n${stdout}`);
        lab.kill('SIGKILL');
        await ended;
      }
    }
    const closed = Promise.all([this.a?.client.close(), this.b?.client.close()]).catch(() => undefined);
    if (!(await within(closed, 5_000))) console.error('a client of the REST interface did not close within 5 s');
  }

  /** What `antipode lab link` does, without a process of its own: what is changed is changed at once, on a busy machine too. */
  async link(...change: string[]): Promise<void> {
    await labCommand({
      args: ['link', '--dir', this.directory, ...change],
      env: {},
      out: () => undefined,
      err: () => undefined,
      clock: systemClock,
      stop: new AbortController().signal,
      entry: cli,
      isTerminal: false,
    });
  }

  /** Has the process that passes a named point next die there, by SIGKILL; answers whether one has by now. */
  dieAt(point: string): () => boolean {
    const order = join(this.#orders, point);
    rmSync(`${order}.hit`, { force: true });
    writeFileSync(order, JSON.stringify({ skip: 0, whom: 'process' }));
    return () => existsSync(`${order}.hit`);
  }

  /** The processes of a site, its supervisor first: read from the kernel, so that only this lab's are found. */
  async processesOf(site: TestSite): Promise<number[]> {
    const { stdout } = await run('ps', ['-eo', 'pid=,ppid=,args=']);
    const rows = stdout
      .split('\n')
      .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line))
      .filter((match) => match !== null);
    const supervisor = rows.find(
      (row) =>
        row[3]!.includes(' serve ') &&
        row[3]!.includes(this.directory) &&
        row[3]!.toLowerCase().includes(site.name.toLowerCase()),
    );
    if (supervisor === undefined) return [];
    const pid = Number(supervisor[1]);
    return [pid, ...rows.filter((row) => Number(row[2]) === pid).map((row) => Number(row[1]))];
  }

  /** What the management and the data planes of a site were started from. */
  async entriesOf(site: TestSite): Promise<string[]> {
    const own = await this.processesOf(site);
    const lines = await Promise.all(own.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
    return lines.flatMap((line) => line.split('\0').filter((part) => /\/(dataplane|management)\/main\.js$/.test(part)));
  }

  /** Kills processes of a site without a word, by their ids: they are started again. */
  async kill(site: TestSite, which: 'all' | 'dataplane' | 'management'): Promise<void> {
    const { stdout } = await run('ps', ['-eo', 'pid=,args=']);
    const own = new Set(await this.processesOf(site));
    const chosen = stdout
      .split('\n')
      .map((line) => /^\s*(\d+)\s+(.*)$/.exec(line))
      .filter((match) => match !== null && own.has(Number(match[1])))
      .filter((match) => which === 'all' || match![2]!.includes(`/${which}/main`))
      .map((match) => Number(match![1]));
    if (chosen.length === 0) throw new Error(`no process of ${site.name} to kill`);
    for (const pid of chosen) process.kill(pid, 'SIGKILL');
  }

  /** Kills the data plane of one appliance: the one that has the appliance's log open. */
  async killDataPlane(site: TestSite, appliance: string): Promise<void> {
    const suffix = appliance === 'A1' ? `${site.name.toLowerCase()}/appliances/A1` : `-appliance-${appliance.slice(1)}`;
    for (const pid of await this.processesOf(site)) {
      const open = await readdir(`/proc/${pid}/fd`).catch(() => []);
      const paths = await Promise.all(open.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
      if (!paths.some((path) => path.includes(`${suffix}/log/`))) continue;
      process.kill(pid, 'SIGKILL');
      return;
    }
    throw new Error(`no data plane of ${site.name} has the log of ${appliance}`);
  }

  /** A volume at `a`, protected to `b`, and its session there; resolves when the first copy is complete unless told otherwise. */
  async protect(
    name: string,
    size: number,
    options: { readonly fill?: Uint8Array; readonly wait?: boolean; readonly appliance?: string } = {},
  ): Promise<{ readonly volume: string; readonly session: string; readonly policy: string }> {
    const { client } = this.a;
    const remote = await client.first('remote_system', { select: 'id' });
    const rule = await client.create('replication_rule', {
      name: `${name}-rule`,
      rpo: 'One_Day',
      remote_system_id: String(remote?.id),
    });
    const policy = await client.create('policy', { name: `${name}-policy`, replication_rule_ids: [rule] });
    const { appliance } = options;
    const volume = await client.create('volume', { name, size, ...(appliance && { appliance_id: appliance }) });
    if (options.fill !== undefined) {
      const device = await this.a.open(name);
      for (let at = 0; at < options.fill.length; at += MiB) await device.write(at, options.fill.subarray(at, at + MiB));
      await device.flush();
      await device.close();
    }
    await client.modify('volume', volume, { protection_policy_id: policy });
    const session = String(
      (
        await client.first('replication_session', {
          select: 'id',
          filter: { local_resource_id: `eq.${volume}` },
        })
      )?.id,
    );
    if (options.wait ?? true) await this.settled(session);
    return { volume, session, policy };
  }

  async state(site: TestSite, session: string): Promise<string> {
    return String((await site.client.get('replication_session', session)).state);
  }

  /** Waits until both sides show these states. */
  async until(session: string, a: string | readonly string[], b: string | readonly string[] = a): Promise<void> {
    const wantedA = [a].flat();
    const wantedB = [b].flat();
    let seen = '';
    await eventually(
      `${wantedA.join('|')} and ${wantedB.join('|')}`,
      async () => {
        const states = await Promise.all([this.state(this.a, session), this.state(this.b, session)]);
        seen = states.join(' and ');
        return wantedA.includes(states[0]!) && wantedB.includes(states[1]!);
      },
      () => seen,
    );
  }

  settled(session: string): Promise<void> {
    return this.until(session, 'OK');
  }

  async figures(site: TestSite, session: string): Promise<Record<string, number | null>> {
    return (await site.client.request('GET', `/api/antipode/v1/replication_sessions/${session}`)).body as Record<
      string,
      number | null
    >;
  }

  act(site: TestSite, session: string, name: string, body?: object): Promise<unknown> {
    return site.client.action('replication_session', session, name, body);
  }
}

/** Whether something ends within a bound. */
async function within(work: Promise<unknown>, most_ms: number): Promise<boolean> {
  const bound = new AbortController();
  const timeout = pause(most_ms, false, { signal: bound.signal }).catch(() => false);
  const ended = await Promise.race([work.then(() => true), timeout]);
  bound.abort();
  return ended;
}

/**
 * Resolves when `check` holds; a bound, so that a test that cannot succeed says what it saw. It is far above what anything takes, also
 * where three tests share a slow machine, and below the bound of a test, which says nothing.
 */
export async function eventually(
  what: string,
  check: () => Promise<boolean>,
  seen: () => string = () => '',
  most_ms = 150_000,
): Promise<void> {
  const end = performance.now() + most_ms;
  for (;;) {
    try {
      if (await check()) return;
    } catch (error) {
      // A cluster that is being started again answers nothing for a moment.
      if (error instanceof ApiError && error.status < 500 && error.status !== 404) throw error;
    }
    if (performance.now() > end) throw new Error(`waited for ${what}, saw ${seen()}`);
    await pause(25);
  }
}

/** What a refused call answers. */
export async function refusal(
  work: Promise<unknown>,
): Promise<{ readonly status: number; readonly code: string; readonly message: string }> {
  try {
    await work;
  } catch (error) {
    if (error instanceof ApiError)
      return { status: error.status, code: error.messages[0]?.code ?? '', message: error.message };
    throw error;
  }
  throw new Error('the call was not refused');
}

export async function readVolume(site: TestSite, name: string): Promise<Uint8Array> {
  const device = await site.open(name);
  const bytes = new Uint8Array(device.size);
  for (let at = 0; at < bytes.length; at += MiB)
    await device.read(at, bytes.subarray(at, Math.min(at + MiB, bytes.length)));
  await device.close();
  return bytes;
}

/** Bytes that differ everywhere. */
export function noise(length: number, seed: number): Uint8Array {
  const words = new Uint32Array(length / 4);
  let state = seed * 2654435761 + 1;
  for (let index = 0; index < words.length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[index] = state;
  }
  return new Uint8Array(words.buffer);
}

export const isBuilt = (): boolean => existsSync(join(root, 'packages/cli/dist/main.js'));
export const readText = (path: string): string => readFileSync(path, 'utf8');
