import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bench } from '../runner/bench.ts';
import { freePort, loopback, waitForPort } from '../runner/ports.ts';
import { findTool } from '../runner/tools.ts';
import { Server } from './server.ts';

/** A raw file served by nbdkit's file plugin over TCP: its defaults, which are the page cache and 16 threads a connection. */
export class Nbdkit extends Server {
  readonly uri: string;

  private constructor(bench: Bench, facts: ConstructorParameters<typeof Server>[1], uri: string) {
    super(bench, facts);
    this.uri = uri;
  }

  static async start(bench: Bench, size: number): Promise<Nbdkit> {
    const program = findTool('nbdkit') ?? 'nbdkit';
    const path = join(await bench.makeDir('nbdkit'), 'image.raw');
    const file = await open(path, 'w');
    await file.truncate(size);
    await file.close();
    const port = await freePort();
    const child = bench.children.adopt(
      spawn(
        program,
        ['--foreground', '--exit-with-parent', '-i', loopback, '-p', String(port), '-e', 'image', 'file', path],
        { detached: true, stdio: 'ignore' },
      ),
    );
    await Promise.race([
      waitForPort(port, bench.signal),
      new Promise<never>((_, reject) => child.once('exit', (code) => reject(new Error(`nbdkit ended (${code})`)))),
    ]);
    const about = `${(await bench.run(program, ['--version'])).trim()} file plugin on a raw file, its defaults (page cache, threads)`;
    return new Nbdkit(bench, { name: 'nbdkit file', about, child }, `nbd://${loopback}:${port}/image`);
  }
}
