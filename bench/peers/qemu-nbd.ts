import { spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bench } from '../runner/bench.ts';
import { freePort, loopback, waitForPort } from '../runner/ports.ts';
import { findTool } from '../runner/tools.ts';
import { Server } from './server.ts';

export type ImageFormat = 'qcow2' | 'raw';

/** Connections that one export takes: as many as a multi-connection client could want. */
const clientsMost = 16;

/** An image served by qemu-nbd over TCP. */
export class QemuNbd extends Server {
  readonly uri: string;
  readonly file: string;

  private constructor(bench: Bench, facts: ConstructorParameters<typeof Server>[1], uri: string, file: string) {
    super(bench, facts);
    this.uri = uri;
    this.file = file;
  }

  /** Makes an image of `size` bytes and serves it: through the page cache, with io_uring where that works, else threads. */
  static async start(bench: Bench, format: ImageFormat, size: number): Promise<QemuNbd> {
    const file = join(await bench.makeDir(`qemu-${format}`), `image.${format}`);
    await bench.run(qemuImg(), ['create', '-q', '-f', format, file, String(size)]);
    try {
      return await QemuNbd.serve(bench, format, file, 'io_uring');
    } catch (error) {
      bench.signal.throwIfAborted();
      if (!(error instanceof Error)) throw error;
      return await QemuNbd.serve(bench, format, file, 'threads');
    }
  }

  /** Ends it and removes its image. */
  async discard(): Promise<void> {
    await this.stop();
    await rm(this.file, { force: true });
  }

  static async serve(bench: Bench, format: ImageFormat, file: string, aio: 'io_uring' | 'threads'): Promise<QemuNbd> {
    const port = await freePort();
    const caching = ['--cache=writeback', `--aio=${aio}`, '--discard=unmap'];
    const child = bench.children.adopt(
      spawn(
        qemuNbd(),
        [
          ...['--persistent', '--bind', loopback, '--port', String(port), '--shared', String(clientsMost)],
          ...['--export-name', 'image', '--format', format, ...caching, file],
        ],
        { detached: true, stdio: ['ignore', 'ignore', 'pipe'] },
      ),
    );
    let said = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString('utf8')).slice(-4096);
    });
    await Promise.race([
      waitForPort(port, bench.signal),
      new Promise<never>((_, reject) =>
        child.once('exit', (code) => reject(new Error(`qemu-nbd ended (${code}): ${said.trim().split('\n').at(-1)}`))),
      ),
    ]);
    const about = `${await qemuVersion(bench)} on ${format}, ${caching.join(' ')}`;
    return new QemuNbd(bench, { name: `qemu-nbd ${format}`, about, child }, `nbd://${loopback}:${port}/image`, file);
  }
}

const qemuImg = (): string => findTool('qemu-img') ?? 'qemu-img';
const qemuNbd = (): string => findTool('qemu-nbd') ?? 'qemu-nbd';

const qemuVersion = async (bench: Bench): Promise<string> =>
  `qemu-nbd ${/\d+(\.\d+)+/.exec(await bench.run(qemuNbd(), ['--version']))?.[0] ?? ''}`;
