import { assert, type Random } from '@antipode/base';
import { BlockError } from '../../port/errors.ts';
import type { CheckpointStore } from '../checkpoint-store.ts';

type Change = { readonly key: Uint8Array; readonly value?: Uint8Array };

export interface SimulatedCheckpointStoreOptions {
  readonly random: Random;
  /** How many flushed commits a crash may take back. */
  readonly fall_back_max?: number;
}

/**
 * A checkpoint store in memory with the port's crash model: {@link crash} falls back to an earlier committed state, whole.
 * A process sees it through {@link mount}, which is dead after the crash.
 */
export class SimulatedCheckpointStore {
  /** Commits that failed. */
  failures = 0;
  private readonly random: Random;
  private readonly fall_back_max: number;
  private readonly values = new Map<string, Uint8Array>();
  /** What brings back the state before each commit, oldest first. */
  private undo: Map<string, Uint8Array | undefined>[] = [];
  private life = 0;
  /** How many more commits succeed; those after them fail, and nothing of them is kept. */
  private untilFailure = Number.POSITIVE_INFINITY;

  constructor(options: SimulatedCheckpointStoreOptions) {
    this.random = options.random;
    this.fall_back_max = options.fall_back_max ?? 2;
  }

  mount(): CheckpointStore {
    const life = this.life;
    const alive = () => assert(life === this.life, 'this process has crashed');
    return {
      get: (key) => {
        alive();
        return this.values.get(textOf(key))?.slice();
      },
      keys: (from, to) => {
        alive();
        const [low, high] = [textOf(from), textOf(to)];
        return [...this.values.keys()]
          .filter((key) => key >= low && key < high)
          .sort()
          .map(bytesOf);
      },
      commit: (changes) => {
        alive();
        if (this.untilFailure === 0) {
          this.failures += 1;
          return Promise.reject(new BlockError('io_error', 'the checkpoint failed'));
        }
        this.untilFailure -= 1;
        this.apply(changes);
        return new Promise((resolve) => {
          setImmediate(() => {
            if (life === this.life) resolve();
          });
        });
      },
      close: async () => {},
    };
  }

  /** After the next `count` commits all fail. */
  failAfter(count: number): void {
    this.untilFailure = count;
  }

  crash(): void {
    this.failAfter(Number.POSITIVE_INFINITY);
    this.life++;
    const back = Math.min(this.undo.length, Math.floor(this.random.fraction() * (this.fall_back_max + 1)));
    for (let i = 0; i < back; i++) {
      for (const [key, value] of this.undo.pop()!) {
        if (value === undefined) this.values.delete(key);
        else this.values.set(key, value);
      }
    }
    this.undo = [];
  }

  /** The process dies; everything committed stays. */
  kill(): void {
    this.life++;
  }

  /** As if somebody had removed the checkpoint: it may always be made again. */
  clear(): void {
    this.values.clear();
    this.undo = [];
  }

  private apply(changes: readonly Change[]): void {
    const before = new Map<string, Uint8Array | undefined>();
    for (const { key, value } of changes) {
      const text = textOf(key);
      if (!before.has(text)) before.set(text, this.values.get(text));
      if (value === undefined) this.values.delete(text);
      else this.values.set(text, value.slice());
    }
    this.undo.push(before);
    if (this.undo.length > this.fall_back_max) this.undo.shift();
  }
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));
