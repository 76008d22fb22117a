import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const cli = join(import.meta.dirname, '../../packages/cli/bin/antipode.js');

describe('antipode drill', () => {
  it('goes through the whole story with each cluster killed in turn during the initial copy, and every check holds', async () => {
    const { code, text } = await new Promise<{ code: number; text: string }>((resolve) =>
      execFile(
        process.execPath,
        [cli, 'drill', '--kill-clusters', '--size', '64MiB', '--json'],
        { maxBuffer: 16 << 20 },
        (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code), text: out + err }),
      ),
    );
    expect(code, text).toBe(0);
  });
});
