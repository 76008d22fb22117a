import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CheckingProxy } from './checking-proxy.ts';
import { eventually, MiB, Pair } from './pair.ts';

const run = promisify(execFile);
const clients = join(import.meta.dirname, '../clients');
/** Where .ci/run puts PyPowerStore. */
const python =
  process.env.PYPOWERSTORE_PYTHON ?? join(import.meta.dirname, '../../node_modules/.cache/pypowerstore/bin/python');

function works(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
const hasPython = existsSync(python) && works(python, '-c', 'import PyPowerStore');
if (!hasPython) console.log('skipped: conformance with PyPowerStore needs it (see .ci/run)');
/** Modules and their hashes are pinned in go.mod and go.sum; a machine that cannot have them skips. */
const hasGo = works('go', 'version') && works('go', '-C', join(clients, 'go'), 'list', '-deps', '.');
if (!hasGo) console.log('skipped: conformance with gopowerstore needs Go and its modules (see .ci/run)');

const noFiles = 'file services: there are none';
const noMetro = 'synchronous replication and metro volumes are not offered';
const noContainers = 'storage containers: there are none';
/** Those of gopowerstore’s own tests against a live system that are not run, each with the reason. All others are. */
const excluded: Readonly<Record<string, string>> = {
  TestApiSuite:
    'takes for granted that no answer comes within ten milliseconds; its other two tests are run by themselves',
  TestGetFCPorts: 'there is no Fibre Channel',
  Test_PerformanceMetricsByFeFcNode: 'there is no Fibre Channel',
  Test_PerformanceMetricsByFeEthNode: 'ports are the machine’s, and so is what passes through them',
  TestGetIPPoolAddress: 'looks for portals of iSCSI',
  TestReplicationSuiteSync: noMetro,
  TestMetroVolumeSuite: noMetro,
  TestMetroVolumeGroupSuite: noMetro,
  TestEndMetroVolumeGroupSuite: noMetro,
  TestGetSC: noContainers,
  TestCreateDeleteSC: noContainers,
  TestModifySC: noContainers,
  TestFsTestSuite: noFiles,
  TestGetNFSExportByFileSystemID: noFiles,
  TestModifyNFSExport: noFiles,
  Test_PerformanceMetricsByFileSystem: noFiles,
  Test_PerformanceMetricsNfsByNode: noFiles,
  Test_PerformanceMetricsNfsv3ByNode: noFiles,
  Test_PerformanceMetricsNfsv4ByNode: noFiles,
};

describe.skipIf(!hasPython && !hasGo)(
  'clients that nobody here wrote live through the life of a volume and of a group',
  () => {
    const pair = new Pair();
    const scratch = mkdtempSync(join(tmpdir(), 'antipode-conformance-'));
    /** What stands before both clusters: all that these clients are answered is held against the published interface. */
    let proxies: { readonly a: CheckingProxy; readonly b: CheckingProxy };
    const site = (name: 'a' | 'b') => ({ url: proxies[name].url, password: pair[name].password });
    const nothingWrong = () => expect([...proxies.a.wrong, ...proxies.b.wrong]).toEqual([]);
    beforeAll(async () => {
      await pair.start();
      proxies = { a: await new CheckingProxy(pair.a.url).start(), b: await new CheckingProxy(pair.b.url).start() };
    });
    afterAll(async () => {
      await Promise.all([proxies.a.stop(), proxies.b.stop()]);
      await pair.stop();
      rmSync(scratch, { recursive: true, force: true });
    });

    it.skipIf(!hasPython)(
      'PyPowerStore',
      async () => {
        const described = ({ url, password }: ReturnType<typeof site>) => {
          const { hostname, port } = new URL(url);
          return { host: hostname, port: Number(port), username: 'admin', password };
        };
        const sites = JSON.stringify({ a: described(site('a')), b: described(site('b')) });
        const { stdout } = await run(python, [join(clients, 'pypowerstore/life.py'), sites]);
        expect(stdout).toContain('ok the group and its members are gone');
        expect(proxies.a.seen.get('POST 201 volume')).toBeGreaterThan(0);
        nothingWrong();
      },
      600_000,
    );

    it.skipIf(!hasGo)(
      'gopowerstore',
      async () => {
        const program = join(scratch, 'life');
        await run('go', ['build', '-o', program, '.'], { cwd: join(clients, 'go') });
        const told = ({ url, password }: ReturnType<typeof site>) => [`${url}/api/rest`, 'admin', password];
        const { stdout } = await run(program, [...told(site('a')), ...told(site('b'))]);
        expect(stdout.trim().split('\n').at(-1)).toMatch(
          /^ok every call is driven or excluded: \d+ of \d+ are driven$/,
        );
        nothingWrong();
      },
      600_000,
    );

    it.skipIf(!hasGo)(
      'gopowerstore’s own tests, as far as they concern blocks, hosts and replication',
      async () => {
        const program = join(scratch, 'inttests');
        await run('go', ['test', '-c', '-o', program, 'github.com/dell/gopowerstore/inttests'], {
          cwd: join(clients, 'go'),
        });
        // They take the newest figures for granted, as an array that has run for a while has them, of the first volume too.
        const volume = await pair.a.client.create('volume', { name: '0-first', size: 8 * MiB });
        for (const [kind, entity_id] of [
          ['appliance', 'A1'],
          ['volume', volume],
        ] as const) {
          const wanted = { entity: `performance_metrics_by_${kind}`, entity_id, interval: 'Five_Mins' };
          await eventually(`the first figures of ${kind}`, async () => {
            const rows = await pair.a.client.collectionAction('metrics', 'generate', wanted);
            return Array.isArray(rows) && rows.length > 0;
          });
        }
        const settings = {
          GOPOWERSTORE_APIURL: `${site('a').url}/api/rest`,
          GOPOWERSTORE_USERNAME: 'admin',
          GOPOWERSTORE_PASSWORD: pair.a.password,
          GOPOWERSTORE_INSECURE: 'true',
          GOPOWERSTORE_HTTP_TIMEOUT: '60',
        };
        const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`);
        writeFileSync(join(scratch, 'GOPOWERSTORE_TEST.env'), lines.join(''), { mode: 0o600 });
        const env = { ...process.env, ...settings };
        const named =
          (await run(program, ['-test.list', '.*'], { cwd: scratch, env })).stdout.match(/^Test\w+$/gm) ?? [];
        expect(Object.keys(excluded).filter((name) => !named.includes(name))).toEqual([]);
        const chosen = named.filter((name) => !Object.hasOwn(excluded, name));
        const { stdout } = await run(program, ['-test.v', '-test.run', `^(${chosen.join('|')})$`], {
          cwd: scratch,
          env,
          maxBuffer: 64 * MiB,
        });
        expect(stdout).not.toContain('--- FAIL');
        expect(stdout.match(/^--- PASS/gm)?.length ?? 0).toBeGreaterThan(47);
        // The suite of one test that expects the network to be slow has others too.
        const part = ['-test.v', '-test.run', '^TestApiSuite$', '-testify.m', '^(TestTraceID|TestCustomLogger)$'];
        expect((await run(program, part, { cwd: scratch, env })).stdout.match(/^ {4}--- PASS/gm)).toHaveLength(2);
        nothingWrong();
      },
      600_000,
    );
  },
);
