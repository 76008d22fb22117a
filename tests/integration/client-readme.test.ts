import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Solo } from './solo.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const blocks = [...readFileSync(join(root, 'packages/client/README.md'), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map(
  (match) => match[1]!,
);
const [opening = '', ...examples] = blocks;

describe('the examples of the client’s README', () => {
  const solo = new Solo();
  // Below node_modules, so that the package is found by its name.
  const cache = join(root, 'node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  const directory = mkdtempSync(join(cache, 'readme-'));
  let fingerprint = '';
  beforeAll(async () => {
    await solo.start();
    const { hostname, port } = new URL(solo.url);
    fingerprint = await new Promise<string>((resolve, reject) => {
      const socket = connectTls({ host: hostname, port: Number(port), rejectUnauthorized: false }, () => {
        resolve(socket.getPeerX509Certificate()?.fingerprint256 ?? '');
        socket.destroy();
      }).once('error', reject);
    });
  });
  afterAll(async () => {
    await solo.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  it('there are some', () => expect(examples.length).toBeGreaterThan(4));

  it.each(examples.map((example, index) => [example.split('\n')[0]!, example, index] as const))(
    '%s',
    async (_, example, index) => {
      const program = join(directory, `${index}.mjs`);
      writeFileSync(program, stripTypeScriptTypes(`${opening}\n${example}\nawait client.close();\n`));
      const { stdout } = await run(process.execPath, [program], {
        env: {
          ...process.env,
          CLUSTER_URL: solo.url,
          CLUSTER_PASSWORD: solo.password,
          CLUSTER_FINGERPRINT: fingerprint,
        },
      });
      const expected = [...example.matchAll(/\/\/ → (.*)$/gm)].map((match) => match[1]);
      expect(stdout.trim().split(/\s+/).join(' ')).toBe(expected.join(' '));
    },
  );
});
