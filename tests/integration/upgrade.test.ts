import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { createReadStream, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { unpackPackage } from '../../packages/cluster/src/software/unpack.ts';
import { transferLimits } from '../../packages/replication/src/transfer/limits.ts';
import { takingOverPoints, upgradePoints } from '../crash/points.ts';
import { eventually, MiB, noise, Pair, readVolume, refusal, type TestSite } from './pair.ts';

const run = promisify(execFile);
/** What a host like a virtual machine is made of, as Debian packages; a test that needs one says so and is skipped. */
const lacking = Object.entries({ fio: 'fio', 'qemu-nbd': 'qemu-utils' })
  .filter(([tool]) => {
    try {
      execFileSync(tool, ['--version'], { stdio: 'ignore' });
      return false;
    } catch {
      return true;
    }
  })
  .map(([, debian]) => debian);
if (lacking.length > 0) console.log(`skipped: an upgrade under a host's load needs ${lacking.join(', ')}`);
const cli = join(import.meta.dirname, '../../packages/cli/bin/antipode.js');
const scratch = mkdtempSync(join(tmpdir(), 'antipode-upgrade-'));
const at = (name: string): string => join(scratch, name);
const antipode = (...args: string[]) => run(process.execPath, [cli, ...args]);

const pair = new Pair();
const dataOf = (site: TestSite): string => join(pair.directory, site.name.toLowerCase());
const releases = (site: TestSite): readonly string[] => {
  const place = join(dataOf(site), 'software');
  return existsSync(place) ? readdirSync(place) : [];
};

/** What the supervisor keeps of the software; nothing before the first upgrade. */
function releaseState(site: TestSite): { readonly active?: string; readonly upgrade?: unknown } {
  const path = join(dataOf(site), 'release.json');
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
}

/** A package of this program with one of its files changed, and signed all the same. */
async function buildChanged(out: string, version: string, file: string, change: (text: string) => string) {
  const directory = at(`${version}-tree`);
  const keys = [createPublicKey(readFileSync(at('key.pub')))];
  await unpackPackage(createReadStream(at('good.pkg')), {
    directory,
    keys,
    check: async () => undefined,
    onProgress: () => undefined,
  });
  const path = join(directory, 'node_modules/@antipode/cluster/dist', file);
  writeFileSync(path, change(readFileSync(path, 'utf8')));
  const own = join(directory, 'node_modules/@antipode/cli/bin/antipode.js');
  await run(process.execPath, [own, 'package', 'build', '--out', out, '--key', at('key'), '--version', version]);
}

beforeAll(async () => {
  // Dozens of processes are started from the same few files: each is compiled once.
  process.env.NODE_COMPILE_CACHE = at('compiled');
  // A release that hangs is given up earlier, and one that works is ready by far, on a busy machine too.
  const starting = pair.start('--appliances', '2', '--takeover-within', '25s');
  // Heard where it is awaited.
  starting.catch(() => undefined);
  await antipode('package', 'new-key', '--out', at('key'));
  await antipode('package', 'new-key', '--out', at('stranger'));
  const build = (out: string, key: string, version: string) =>
    antipode('package', 'build', '--out', at(out), '--key', at(key), '--version', version);
  await Promise.all([
    build('good.pkg', 'key', '4.1.0.0.2'),
    build('better.pkg', 'key', '4.1.0.0.4'),
    build('best.pkg', 'key', '4.1.0.0.5'),
    build('strange.pkg', 'stranger', '4.1.0.0.2'),
  ]);
  await Promise.all([
    buildChanged(at('broken.pkg'), '4.1.0.0.3', 'dataplane/data-plane.js', (text) =>
      text.replace('process.chdir(config.dataDir);', "throw new Error('planted: this data plane does not start');"),
    ),
    buildChanged(at('hanging.pkg'), '4.1.0.0.6', 'dataplane/data-plane.js', (text) =>
      text.replace('process.chdir(config.dataDir);', 'await new Promise(() => setInterval(() => undefined, 1000));'),
    ),
  ]);
  await starting;
});
afterAll(async () => {
  await pair.stop();
  rmSync(scratch, { recursive: true, force: true });
});

const upload = (site: TestSite, file: string): Promise<string> =>
  site.client.upload('software_package', 'upload_file', file);
const trust = (site: TestSite) => antipode('package', 'trust', '--data', dataOf(site), '--key', at('key.pub'));
const runs = async (site: TestSite): Promise<unknown> =>
  (await site.client.get('software_installed', 'cluster')).build_version;

/** The job of an installation, once it has ended, whatever processes came and went meanwhile. */
async function ended(site: TestSite, id: string) {
  let seen: Record<string, unknown> = {};
  await eventually(
    'the upgrade to end',
    async () => {
      seen = (await site.client.get('job', id)) as Record<string, unknown>;
      return seen.end_time !== null;
    },
    () => JSON.stringify(seen),
    240_000,
  );
  return seen;
}

const partsOf = async (site: TestSite, job: string) => {
  const rows = await site.client.all('job', { select: 'state,step_order', filter: { parent_id: `eq.${job}` } });
  return rows.sort((a, b) => Number(a.step_order) - Number(b.step_order)).map(({ state }) => state);
};

describe('a package', () => {
  it('is refused as long as the cluster trusts no key, and then when it is not as a trusted key has signed it; nothing stays', async () => {
    expect(await refusal(upload(pair.a, at('good.pkg')))).toMatchObject({ status: 422, code: '0xE0E010010002' });
    await trust(pair.a);
    const whole = readFileSync(at('good.pkg'));
    const changed = (place: number) => {
      const bytes = Buffer.from(whole);
      bytes[place]! ^= 1;
      return bytes;
    };
    const bad: readonly (readonly [string, Uint8Array])[] = [
      ['signed by somebody else', readFileSync(at('strange.pkg'))],
      ['another description', changed(100)],
      ['damaged data', changed(whole.length - 100_000)],
      ['cut short', whole.subarray(0, whole.length / 2)],
      ['cut in its description', whole.subarray(0, 1000)],
      ['something else', noise(4096, 1)],
      ['nothing', new Uint8Array()],
    ];
    for (const [name, bytes] of bad) {
      writeFileSync(at('bad.pkg'), bytes);
      const refused = await refusal(upload(pair.a, at('bad.pkg')));
      expect([name, refused.status, refused.code]).toEqual([name, 422, '0xE0E010010001']);
    }
    expect(await pair.a.client.all('software_package')).toEqual([]);
    expect(releases(pair.a)).toEqual([]);
  });
});

describe('an upgrade', () => {
  it('to a release whose data plane does not start is rolled back by itself, and says why', async () => {
    const { session } = await pair.protect('rollback', 16 * MiB, { fill: noise(4 * MiB, 1) });
    const id = await upload(pair.a, at('broken.pkg'));
    await pair.a.client.action('software_package', id, 'puhc');
    const job = await pair.a.client.startJob('POST', `software_package/${id}/install`);
    const end = await ended(pair.a, job);
    expect(end.state).toBe('FAILED');
    expect(JSON.stringify(end.response_body)).toContain('planted: this data plane does not start');
    expect(await partsOf(pair.a, job)).toEqual(['COMPLETED', 'COMPLETED', 'COMPLETED', 'FAILED', 'SKIPPED']);
    expect(await runs(pair.a)).toBe('4.1.0.0.1');
    expect((await pair.a.client.get('software_package', id)).software_package_state).toBe('Install_Failed');
    const alerts = { select: 'id', filter: { state: 'eq.ACTIVE', event_code: 'eq.0x02050103' } };
    expect(await pair.a.client.all('alert', alerts)).toHaveLength(1);
    await pair.settled(session);
    await pair.act(pair.a, session, 'sync');
    await pair.settled(session);
    const bytes = await readVolume(pair.a, 'rollback');
    expect(Buffer.compare(bytes.subarray(0, 4 * MiB), noise(4 * MiB, 1))).toBe(0);
    await pair.a.client.remove('software_package', id);
  });

  it('to a release whose data plane hangs is rolled back after its time, with every byte where it was', async () => {
    await trust(pair.a);
    const { volume } = await pair.protect('patient', 8 * MiB, { fill: noise(MiB, 3), appliance: 'A2' });
    const id = await upload(pair.a, at('hanging.pkg'));
    const job = await pair.a.client.startJob('POST', `software_package/${id}/install`);
    const end = await ended(pair.a, job);
    expect(end.state).toBe('FAILED');
    expect(JSON.stringify(end.response_body)).toContain('was not ready within 25 seconds');
    expect(await runs(pair.a)).toBe('4.1.0.0.1');
    const bytes = await readVolume(pair.a, 'patient');
    expect(Buffer.compare(bytes.subarray(0, MiB), noise(MiB, 3))).toBe(0);
    expect(await pair.a.client.get('volume', volume)).toMatchObject({ appliance_id: 'A2' });
    await pair.a.client.remove('software_package', id);
  });

  it.skipIf(lacking.length > 0)(
    'during a copy and under the load of a verifying host: no error there, Paused_For_NDU at both sides, nothing proven is shipped again',
    async () => {
      const size = 64 * MiB;
      await pair.link('--rate', '80mbit');
      // Of the second appliance, while hosts connect to the first: each of the two data planes is exchanged under it.
      const { session } = await pair.protect('busy', size, { fill: noise(48 * MiB, 2), wait: false, appliance: 'A2' });
      await eventually(
        'some of the copy to be durable',
        async () => ((await pair.figures(pair.a, session)).copied_bytes ?? 0) > 0,
      );
      const host = await Host.connect(pair.a, 'busy');
      try {
        const load = host.load();
        load.catch(() => undefined);
        const id = await upload(pair.a, at('good.pkg'));
        const job = await pair.a.client.startJob('POST', `software_package/${id}/install`);
        await pair.until(session, 'Paused_For_NDU');
        expect(await refusal(pair.act(pair.b, session, 'resume'))).toMatchObject({
          status: 422,
          code: '0xE02010050012',
        });
        expect((await refusal(pair.act(pair.b, session, 'start_failover_test'))).status).toBe(422);
        expect(await ended(pair.a, job)).toMatchObject({ state: 'COMPLETED', progress_percentage: 100 });
        expect(await partsOf(pair.a, job)).toEqual(Array(5).fill('COMPLETED'));
        expect(await runs(pair.a)).toBe('4.1.0.0.2');
        expect((await pair.a.client.get('software_package', id)).software_package_state).toBe('Installed');
        expect((await refusal(pair.a.client.remove('software_package', id))).code).toBe('0xE0E010010003');
        host.stop();
        // What fio has read back is what it has written; it ends with an error otherwise, or when the host saw one.
        const longest_ms = await load;
        console.log(`the longest wait of a host's request during the upgrade: ${Math.round(longest_ms)} ms`);
      } finally {
        await host.close();
      }
      await pair.link('--rate', '10gbit');
      await pair.settled(session);
      const { shipped_bytes_total: copied, accumulated_bytes: changed } = await pair.figures(pair.a, session);
      // What was there, once, and what was on its way above the durable address when the sessions were paused: that is all that may be
      // shipped again, and once, because both data planes are exchanged in one pause.
      expect(copied).toBeLessThanOrEqual(48 * MiB + transferLimits.inFlightStart_bytes);
      // The host has written to these 8 MiB alone, since the copy began: they follow, and nothing else does.
      expect(changed).toBeGreaterThan(0);
      expect(changed).toBeLessThanOrEqual(8 * MiB);
      const { last_sync_timestamp: before } = await pair.a.client.get('replication_session', session);
      await pair.act(pair.a, session, 'sync');
      await eventually(
        'a cycle to be complete',
        async () => (await pair.a.client.get('replication_session', session)).last_sync_timestamp !== before,
      );
      await pair.settled(session);
      expect((await pair.figures(pair.a, session)).shipped_bytes_total).toBe(Number(copied) + Number(changed));
      await pair.act(pair.b, session, 'start_failover_test');
      expect(Buffer.compare(await readVolume(pair.a, 'busy'), await readVolume(pair.b, 'busy'))).toBe(0);
      await pair.act(pair.b, session, 'stop_failover_test');
    },
  );

  it.each([
    ['all', 'good.pkg', '4.1.0.0.2'],
    ['dataplane', 'good.pkg', '4.1.0.0.2'],
    ['management', 'better.pkg', '4.1.0.0.4'],
  ] as const)(
    'in which kill -9 takes %s ends in one of the two releases, sessions as they were',
    async (which, file, version) => {
      const session = await anySession(pair.b);
      await trust(pair.b);
      const before = await runs(pair.b);
      const filter = { build_version: `eq.${version}` };
      const known = await pair.b.client.first('software_package', { select: 'id', filter });
      const id = known?.id ?? (await upload(pair.b, at(file)));
      const job = await pair.b.client.startJob('POST', `software_package/${id}/install`);
      await eventually('the supervisor to begin', async () => releaseState(pair.b).upgrade !== undefined);
      expect(await pair.state(pair.a, session)).toBe('Paused_For_NDU');
      await pair.kill(pair.b, which);
      await ended(pair.b, job);
      expect([before, version]).toContain(await runs(pair.b));
      await pair.settled(session);
      expect(releaseState(pair.b).upgrade).toBeUndefined();
    },
  );
});

describe('an upgrade in which a process is killed', () => {
  it.each([...takingOverPoints, ...upgradePoints])(
    'at %s ends with every process of one release, sessions as they were, and can be done again',
    async (point) => {
      const session = await anySession(pair.b);
      await trust(pair.b);
      const before = await runs(pair.b);
      const version = '4.1.0.0.5';
      const filter = { build_version: `eq.${version}` };
      const known = await pair.b.client.first('software_package', { select: 'id', filter });
      const id = known?.id ?? (await upload(pair.b, at('best.pkg')));
      const died = pair.dieAt(point);
      const job = await pair.b.client.startJob('POST', `software_package/${id}/install`);
      await eventually('somebody to die there', async () => died(), undefined, 240_000);
      await ended(pair.b, job);
      expect([before, version]).toContain(await runs(pair.b));
      await pair.settled(session);
      expect(releaseState(pair.b).upgrade).toBeUndefined();
      // Every process is of the release that is said to run.
      const entries = await pair.entriesOf(pair.b);
      expect(new Set(entries.map((entry) => entry.replace(/(dataplane|management)\/main.*/, ''))).size).toBe(1);
      expect(entries.length).toBe(3);
    },
  );
});

/** A session between the two: the one that an earlier test has made, or a new one. */
const anySession = async (site: TestSite): Promise<string> => {
  const known = await site.client.first('replication_session', { select: 'id' });
  return known === undefined ? (await pair.protect('quiet', 8 * MiB)).session : String(known.id);
};

/** A host as a virtual machine is one: qemu keeps the connection to its disk, connects again and repeats what was not answered. */
class Host {
  readonly #proxy: ChildProcess;
  readonly #socket: string;
  readonly #stopFile = at('stop');

  private constructor(proxy: ChildProcess, socket: string) {
    this.#proxy = proxy;
    this.#socket = socket;
  }

  static async connect(site: TestSite, volume: string): Promise<Host> {
    const socket = at('host.sock');
    const { hostname, port } = new URL(site.nbd);
    const image = `driver=nbd,server.type=inet,server.host=${hostname},server.port=${port},export=${volume},reconnect-delay=60`;
    const proxy = spawn('qemu-nbd', ['--image-opts', image, '--socket', socket, '--persistent', '--shared', '4'], {
      stdio: 'inherit',
    });
    await eventually('qemu to offer the disk', async () => existsSync(socket));
    return new Host(proxy, socket);
  }

  /** Writes and verifies until it is stopped; resolves with the longest wait of a request, ms. Rejects on an error of any kind. */
  async load(): Promise<number> {
    const args = ['--name=host', '--ioengine=nbd', `--uri=nbd+unix:///?socket=${this.#socket}`, '--output-format=json'];
    const work = [
      '--rw=randwrite',
      '--bs=4k',
      '--iodepth=8',
      '--offset=8m',
      '--size=8m',
      '--rate_iops=500',
      '--fsync=32',
    ];
    const verify = [
      '--verify=crc32c',
      '--verify_fatal=1',
      '--do_verify=1',
      '--verify_backlog=256',
      '--verify_state_save=0',
    ];
    let longest = 0;
    let seed = 1;
    while (!existsSync(this.#stopFile)) {
      const { stdout } = await run('fio', [...args, ...work, ...verify, `--randseed=${seed++}`], { cwd: scratch });
      // It says first what it is connected to.
      const [job] = (
        JSON.parse(stdout.slice(stdout.indexOf('{'))) as { jobs: { error: number; write: Lat; read: Lat }[] }
      ).jobs;
      if (job!.error !== 0) throw new Error(`fio ended with error ${job!.error}`);
      longest = Math.max(longest, job!.write.clat_ns.max, job!.read.clat_ns.max);
    }
    return longest / 1e6;
  }

  stop(): void {
    writeFileSync(this.#stopFile, '');
  }

  async close(): Promise<void> {
    this.stop();
    if (this.#proxy.exitCode !== null) return;
    const exited = new Promise((resolve) => this.#proxy.once('exit', resolve));
    this.#proxy.kill('SIGTERM');
    await exited;
  }
}

interface Lat {
  readonly clat_ns: { readonly max: number };
}
