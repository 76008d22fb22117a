import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { settleDisk } from '../load/export-load.ts';
import type { Bench } from '../runner/bench.ts';
import type { Sample } from '../runner/results.ts';
import { findTool } from '../runner/tools.ts';
import { changeShare, writeWhole } from './changing-file.ts';
import { type Copier, timed } from './copier.ts';

const MiB = 2 ** 20;

/** rsync of a raw file with its delta algorithm on, which it leaves out for local files unless told, and to the disk. */
export class RsyncCopier implements Copier {
  readonly name = 'rsync --inplace --no-whole-file';
  readonly role = 'peer';
  readonly #bench: Bench;
  readonly #dir: string;

  constructor(bench: Bench, dir: string) {
    this.#bench = bench;
    this.#dir = dir;
  }

  get #source(): string {
    return join(this.#dir, 'source.raw');
  }

  async initial(): Promise<Sample> {
    const { size } = this.#bench.settings;
    rmSync(join(this.#dir, 'copy.raw'), { force: true });
    await writeWhole(this.#source, size);
    return { value: size / MiB / (await this.#synchronize()) };
  }

  async delta(share: number): Promise<Sample> {
    if (share > 0) await changeShare(this.#source, this.#bench.settings.size, share);
    return { value: await this.#synchronize() };
  }

  #synchronize(): Promise<number> {
    return timed(async () => {
      const rsync = findTool('rsync') ?? 'rsync';
      await this.#bench.run(rsync, [
        '--times',
        '--inplace',
        '--no-whole-file',
        this.#source,
        join(this.#dir, 'copy.raw'),
      ]);
      await settleDisk(this.#bench);
    });
  }
}
