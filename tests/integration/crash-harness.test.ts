import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runCampaign } from '../crash/campaign.ts';
import { seeded } from '../crash/chance.ts';
import { pointNames, points } from '../crash/points.ts';
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
  });

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
        kills: 30,
        aimed: 0.6,
        stop_ms: 3_000,
        stopEvery: 3,
        firstPoint: (seed * 7) % points.length,
        say: (line) => lines.push(line),
      });
      console.log(showReport(report));
      expect(report.kills).toBeGreaterThanOrEqual(30);
      expect(report.stops).toBeGreaterThan(0);
    } catch (error) {
      throw new Error(
        `npm run crash -- --seed ${seed}: ${error instanceof Error ? error.message : String(error)}\n${lines.join('\n')}`,
      );
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }, 900_000);
});
