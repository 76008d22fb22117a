import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CheckingProxy } from './checking-proxy.ts';
import { Pair } from './pair.ts';

const cli = join(import.meta.dirname, '../../packages/cli/bin/antipode.js');

const antipode = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  new Promise<{ code: number; text: string }>((resolve) =>
    execFile(
      process.execPath,
      [cli, ...args],
      { maxBuffer: 16 << 20, env: { ...process.env, ...env } },
      (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code), text: out + err }),
    ),
  );

describe('antipode drill', () => {
  it('goes through the whole story with each cluster killed in turn during the initial copy, and every check holds', async () => {
    const { code, text } = await antipode(['drill', '--kill-clusters', '--size', '64MiB', '--json']);
    expect(code, text).toBe(0);
  });

  it('and a scrub are answered only what the published interface allows', async () => {
    const pair = new Pair();
    await pair.start();
    const proxies = await Promise.all([pair.a, pair.b].map(({ url }) => new CheckingProxy(url).start()));
    try {
      // The lab goes on as it is; who looks in its record finds the proxies.
      const place = join(pair.directory, 'lab.json');
      const record = JSON.parse(readFileSync(place, 'utf8')) as { sites: { name: string; url: string }[] };
      const sites = record.sites.map((site) => ({
        ...site,
        url: proxies[site.name === pair.a.name ? 0 : 1]!.url,
      }));
      const fingerprints = Object.fromEntries(
        sites.map(({ name }) => [name, proxies[name === pair.a.name ? 0 : 1]!.fingerprint]),
      );
      writeFileSync(place, JSON.stringify({ ...record, sites, fingerprints }));
      const drilled = await antipode(['drill', '--dir', pair.directory, '--size', '16MiB', '--json']);
      expect(drilled.code, drilled.text).toBe(0);
      const { url, fingerprint } = proxies[0]!;
      const scrubbed = await antipode(['scrub', '--url', url, '--fingerprint', fingerprint, '--json'], {
        ANTIPODE_PASSWORD: pair.a.password,
      });
      expect(scrubbed.code, scrubbed.text).toBe(0);
      for (const { seen } of proxies) expect(seen.get('GET 200 replication_session')).toBeGreaterThan(0);
      expect(proxies.flatMap(({ wrong }) => wrong)).toEqual([]);
    } finally {
      await Promise.all(proxies.map((proxy) => proxy.stop()));
      await pair.stop();
    }
  });
});
