import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runCampaign } from '../crash/campaign.ts';
import { seeded } from '../crash/chance.ts';
import { CrashPair, passing } from '../crash/crash-pair.ts';
import { movingNames, operationNames, operations } from '../crash/operations.ts';
import { pointNames } from '../crash/points.ts';
import { showReport } from '../crash/show-report.ts';
import { whyNoWriteLoss } from '../crash/write-loss.ts';

const root = join(import.meta.dirname, '../..');

function* sources(directory: string): Generator<string> {
  for (const name of readdirSync(directory)) {
    if (['node_modules', 'dist'].includes(name)) continue;
    const path = join(directory, name);
    if (statSync(path).isDirectory()) yield* sources(path);
    else if (path.endsWith('.ts')) yield path;
  }
}

describe('the crash harness', () => {
  it('knows every fault point of the product', () => {
    const patterns = [...sources(join(root, 'packages'))].flatMap((path) =>
      [...readFileSync(path, 'utf8').matchAll(/passFaultPoint\((['`])(.+?)\1\)/g)].map((match) => match[2]!),
    );
    const unknown = patterns.filter((pattern) => {
      const name = new RegExp(`^${pattern.replaceAll('.', '\\.').replace(/\$\{[^}]+\}/g, '[a-z_]+')}$`);
      return !pointNames.some((known) => name.test(known));
    });
    expect(unknown).toEqual([]);
    // Names that are put together: every change of the graph that is ordered on request, every step and message of a session.
    const kinds = (path: string, key: string): string[] => [
      ...new Set(
        [
          ...readFileSync(join(root, 'packages', path), 'utf8').matchAll(new RegExp(`readonly ${key}: '(\\w+)'`, 'g')),
        ].map((match) => match[1]!),
      ),
    ];
    const written = ['checkpoint', 'oldest_checkpoint', 'graph', 'part'];
    const changes = kinds('blocks/src/embedded/graph/changes.ts', 'op').filter((op) => !written.includes(op));
    const outcomesOnly = ['failed', 'target_gone'];
    const steps = kinds('replication/src/session/steps.ts', 'kind').filter((kind) => !outcomesOnly.includes(kind));
    expect(changes.length).toBeGreaterThan(30);
    expect(steps.length).toBeGreaterThan(15);
    const missing = [
      ...changes.flatMap((op) => [`engine.${op}.ordered`, `engine.${op}.durable`]),
      ...steps.flatMap((kind) => [`session.${kind}.begun`, `session.${kind}.done`]),
    ].filter((name) => !pointNames.includes(name));
    expect(missing).toEqual([]);
  });

  it.each(['source', 'destination'] as const)(
    'a data plane of the %s that dies before it can say that a session was born leaves nothing behind',
    async (side) => {
      const directory = mkdtempSync(join(tmpdir(), 'antipode-birth-'));
      const pair = new CrashPair({ directory, chance: seeded(1), loss: false, appliances: 1 });
      try {
        await pair.start();
        const [what] = pair.protecteds;
        await pair.converge(what!);
        const point = 'engine.create_half.durable';
        what![side].order(point, { skip: 0, whom: 'process' });
        await operations.protection(pair, what!).catch(passing);
        expect(what![side].settleOrder(point)).toBe(true);
        // Volumes can be removed again, at both sites: no half is in the way.
        await pair.sweep();
        for (const { client } of pair.sites)
          expect((await client.all('replication_session', { select: 'id' })).length).toBe(pair.protecteds.length);
      } finally {
        await pair.stop();
        rmSync(directory, { recursive: true, force: true });
      }
    },
  );

  it('30 deaths, at named points and at random, both sites: what hosts were told is there, copies are one moment, everything recovers [C6.1] [C7.2] [C9.1]', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'antipode-crash-'));
    const whyNoLoss = whyNoWriteLoss();
    if (whyNoLoss !== undefined) console.log(`no write is lost in this run: ${whyNoLoss}`);
    const seed = 62;
    const lines: string[] = [];
    try {
      const report = await runCampaign({
        directory,
        chance: seeded(seed),
        loss: whyNoLoss === undefined,
        // Of those that chance rarely leads to, one of each kind.
        walk: ['engine.hold.durable', 'engine.refuse_proposal.durable', 'engine.abandon_stage.ordered'],
        kills: 30,
        aimed: 0.6,
        more: 0.6,
        stop_ms: 3_000,
        stopEvery: 3,
        fullEvery: 1_000,
        stops: 1,
        fulls: 0,
        census: false,
        operations: operationNames.filter((name) => ![...movingNames, 'bulk', 'reversed'].includes(name)),
        appliances: 1,
        say: (line) => lines.push(line),
      });
      console.log(showReport(report));
      expect(report.kills).toBeGreaterThanOrEqual(30);
      expect(report.missed).toEqual([]);
      expect(Object.keys(report.stops).length).toBeGreaterThan(0);
    } catch (error) {
      throw new Error(
        `npm run crash -- --seed ${seed}: ${error instanceof Error ? error.message : String(error)}\n${lines.join('\n')}`,
      );
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }, 900_000);
});
