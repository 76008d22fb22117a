import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import type { Settings } from '../options.ts';
import { Children } from './children.ts';
import { Progress } from './progress.ts';

/** What every group works with. Closing it ends every process and removes every file that a group made. */
export class Bench implements AsyncDisposable {
  readonly settings: Settings;
  readonly signal: AbortSignal;
  readonly progress = new Progress(process.stderr);
  readonly children = new Children();
  /** A directory of this run alone, on the disk to be measured. */
  readonly dir: string;
  readonly #cleanups: (() => Promise<void>)[] = [];

  private constructor(settings: Settings, dir: string, signal: AbortSignal) {
    this.settings = settings;
    this.dir = dir;
    this.signal = signal;
  }

  static async open(settings: Settings, signal: AbortSignal): Promise<Bench> {
    return new Bench(settings, await mkdtemp(join(settings.dir, 'antipode-bench-')), signal);
  }

  /** Runs a program to its end; see Children.run. */
  run(command: string, args: readonly string[]): Promise<string> {
    return this.children.run(command, args, { signal: this.signal });
  }

  /** Has something undone when the bench is closed, the latest first: mounts and loop devices, before files are removed. */
  onClose(undo: () => Promise<void>): void {
    this.#cleanups.push(undo);
  }

  /** A directory for one use, below the bench's. */
  makeDir(name: string): Promise<string> {
    return mkdtemp(join(this.dir, `${name}-`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.progress.end();
    await this.children.stopAll();
    for (const undo of this.#cleanups.toReversed())
      await undo().catch((error: unknown) => process.stderr.write(`cleaning up: ${String(error)}\n`));
    rmSync(this.dir, { recursive: true, force: true });
  }
}
