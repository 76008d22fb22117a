import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import type { Settings } from '../options.ts';
import { Children } from './children.ts';
import { Progress } from './progress.ts';
import type { CellResult } from './results.ts';
import { type Cell, measureInRounds, stepsOf } from './rounds.ts';

/** What every group works with. Closing it ends every process and removes every file that a group made. */
export class Bench implements AsyncDisposable {
  readonly settings: Settings;
  readonly signal: AbortSignal;
  readonly progress = new Progress(process.stderr);
  readonly children = new Children();
  /** A directory of this run alone, on the disk to be measured. */
  readonly dir: string;
  /** When the group in work should be done, on the scale of performance.now(). */
  deadline_ms = Number.POSITIVE_INFINITY;
  #unreached: readonly string[] = [];
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
  run(command: string, args: readonly string[], enough?: AbortSignal): Promise<string> {
    const signal = enough === undefined ? this.signal : AbortSignal.any([this.signal, enough]);
    return this.children.run(command, args, { signal });
  }

  /** Has something undone when the bench is closed, the latest first: mounts and loop devices, before files are removed. */
  onClose(undo: () => Promise<void>): void {
    this.#cleanups.push(undo);
  }

  /** Measures cells in the rounds that the user asked for, at most `roundsMost`, and that the group's time allows. */
  async measure(cells: readonly Cell[], roundsMost = Number.POSITIVE_INFINITY): Promise<readonly CellResult[]> {
    const rounds = Math.min(this.settings.rounds, roundsMost);
    const { progress, signal, deadline_ms } = this;
    progress.expect(stepsOf(cells, rounds));
    const results = await measureInRounds(cells, { rounds, progress, signal, deadline_ms });
    this.#unreached = cells
      .map(({ title }) => title)
      .filter((title) => !results.some((result) => result.title === title));
    return results;
  }

  /** Titles of the cells of the group in work for which there was no time; they are told once. */
  takeUnreached(): readonly string[] {
    const titles = this.#unreached;
    this.#unreached = [];
    return titles;
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
