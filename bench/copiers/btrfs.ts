import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bench } from '../runner/bench.ts';
import type { Sample } from '../runner/results.ts';
import { findTool, type Tool } from '../runner/tools.ts';
import { changeShare, writeWhole } from './changing-file.ts';
import { type Copier, timed } from './copier.ts';

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const tool = (name: Tool): string => findTool(name) ?? name;

/** btrfs send | receive between two file systems on loop devices: a file in a subvolume, its snapshots. */
export class BtrfsCopier implements Copier {
  readonly name = 'btrfs send | receive';
  readonly role = 'peer';
  readonly #bench: Bench;
  readonly #from: string;
  readonly #to: string;
  #number = 0;

  private constructor(bench: Bench, from: string, to: string) {
    this.#bench = bench;
    this.#from = from;
    this.#to = to;
  }

  /** @throws where this machine lets nobody make or mount loop devices. */
  static async open(bench: Bench): Promise<BtrfsCopier> {
    const dir = await bench.makeDir('btrfs');
    const [from, to] = [await mountNew(bench, dir, 'from'), await mountNew(bench, dir, 'to')];
    await bench.run(tool('btrfs'), ['subvolume', 'create', join(from, 'live')]);
    return new BtrfsCopier(bench, from, to);
  }

  async initial(): Promise<Sample> {
    const { size } = this.#bench.settings;
    while (this.#number > 0) {
      await this.#forget(this.#number);
      this.#number -= 1;
    }
    await writeWhole(join(this.#from, 'live', 'image.raw'), size);
    return { value: size / MiB / (await this.#ship()) };
  }

  async delta(share: number): Promise<Sample> {
    if (share > 0) await changeShare(join(this.#from, 'live', 'image.raw'), this.#bench.settings.size, share);
    const value = await this.#ship();
    return { value };
  }

  /** A snapshot, and what it holds beyond the one before. */
  #ship(): Promise<number> {
    const before = this.#number;
    this.#number += 1;
    const point = join(this.#from, `point-${this.#number}`);
    return timed(async () => {
      await this.#bench.run(tool('btrfs'), ['subvolume', 'snapshot', '-r', join(this.#from, 'live'), point]);
      const parent = before === 0 ? [] : ['-p', join(this.#from, `point-${before}`)];
      // The paths are arguments of the script, never part of it.
      const script = 'to=$1; shift; "$0" send -q "$@" | "$0" receive -q "$to"';
      await this.#bench.run('sh', ['-c', script, tool('btrfs'), this.#to, ...parent, point]);
      await this.#bench.run('sync', ['-f', this.#to]);
    });
  }

  async #forget(number: number): Promise<void> {
    for (const root of [this.#from, this.#to])
      await this.#bench.run(tool('btrfs'), ['subvolume', 'delete', join(root, `point-${number}`)]);
  }
}

/** A new file system in a file, mounted; the bench takes it down at its end. Answers where it is mounted. */
async function mountNew(bench: Bench, dir: string, name: string): Promise<string> {
  const image = join(dir, `${name}.img`);
  const file = await open(image, 'w', 0o600);
  await file.truncate(bench.settings.size * 4 + GiB);
  await file.close();
  const device = (await bench.run(tool('losetup'), ['--find', '--show', image])).trim();
  bench.onClose(async () => {
    await bench.children.run(tool('losetup'), ['--detach', device]);
  });
  await bench.run(tool('mkfs.btrfs'), ['--quiet', device]);
  const path = join(dir, name);
  await mkdir(path);
  await bench.run(tool('mount'), ['-t', 'btrfs', device, path]);
  bench.onClose(async () => {
    await bench.children.run('umount', [path]);
  });
  return path;
}
