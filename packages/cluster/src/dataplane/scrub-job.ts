import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Clock, Random, Timer } from '@antipode/base';
import { type BlockEngine, isBlockError, type StoredDamage, type VerifyPosition } from '@antipode/blocks';
import type { DataPlaneEvent, ScrubOptions, ScrubStatus } from '../local/api.ts';

const limits = {
  /** Verified in one step: what hosts may have to wait for, on a slow disk, is one read of this size. */
  step_bytes: 1024 * 1024,
  /** Its progress is written down this often: what a restart repeats at most. */
  keep_ms: 5_000,
  /** Damages kept in the report, and told of one by one; of what goes beyond only the number is known. */
  damages: 256,
  /** A step that failed is tried again after this. */
  retry_ms: 5_000,
  /** Longest timer that is set. */
  timer_ms: 24 * 3_600_000,
} as const;

/** As it is written down. */
interface Kept {
  readonly status: ScrubStatus;
  readonly position?: VerifyPosition;
}

/** Keeps where a scrub is, and what the last one found. What it loses costs a repetition. */
export interface ScrubPlace {
  load(): string | undefined;
  /** Throws when the medium takes nothing. */
  keep(text: string): void;
}

/** A file; not synced, as the hosts' thread must not wait for the medium. */
export const scrubFile = (path: string): ScrubPlace => ({
  load: () => (existsSync(path) ? readFileSync(path, 'utf8') : undefined),
  keep(text) {
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  },
});

export interface ScrubJobParts {
  readonly engine: Pick<BlockEngine, 'verifyStored' | 'usage'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly place: ScrubPlace;
  /** 0: never by itself. */
  readonly every_ms: number;
  readonly rate_bytes_per_s: number;
}

/**
 * The background scrub of one appliance: verifies everything stored in small steps with pauses between them, goes on where it was
 * after a restart, and starts by itself when the last one is old. Invariants: one runs at a time; damage is told of once a scrub.
 */
export class ScrubJob {
  readonly #parts: ScrubJobParts;
  readonly #listeners = new Set<(event: DataPlaneEvent) => void>();
  #status: ScrubStatus | undefined;
  #position: VerifyPosition | undefined;
  #running: Promise<void> | undefined;
  /** Ends the pause between two steps. */
  #wake = new AbortController();
  #timer: Timer | undefined;
  #kept_ms = 0;
  #told = 0;
  #closed = false;

  constructor(parts: ScrubJobParts) {
    this.#parts = parts;
  }

  /** Goes on with what was running, and sees to the next one. */
  open(): void {
    const kept = this.#load();
    this.#status = kept?.status;
    this.#position = kept?.position;
    this.#told = kept?.status.damages.length ?? 0;
    if (this.#status?.state === 'running') this.#run();
    else this.#schedule();
  }

  on(listener: (event: DataPlaneEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  status(): ScrubStatus | undefined {
    return this.#status;
  }

  start({ rate_bytes_per_s = this.#parts.rate_bytes_per_s }: ScrubOptions): ScrubStatus {
    if (this.#status?.state === 'running') {
      this.#status = { ...this.#status, rate_bytes_per_s };
      this.#pauseEnds();
      return this.#status;
    }
    const { clock, random, engine } = this.#parts;
    const { data_bytes, log_bytes } = engine.usage();
    this.#timer?.cancel();
    this.#position = undefined;
    this.#told = 0;
    this.#status = {
      id: random.uuid(),
      state: 'running',
      started_ms: clock.now(),
      rate_bytes_per_s,
      verified_bytes: 0,
      // Every block that is referred to, and then the records of every segment.
      total_bytes: data_bytes + log_bytes,
      damage_count: 0,
      damages: [],
    };
    this.#keep();
    this.#run();
    return this.#status;
  }

  async stop(): Promise<ScrubStatus | undefined> {
    if (this.#status?.state === 'running') {
      this.#status = { ...this.#status, state: 'stopped', ended_ms: this.#parts.clock.now() };
      this.#pauseEnds();
    }
    await this.#running;
    return this.#status;
  }

  /** The process ends; a scrub that runs goes on when the next one begins. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#pauseEnds();
    await this.#running;
    if (this.#status?.state === 'running') this.#keep();
  }

  #run(): void {
    this.#running ??= this.#steps().finally(() => {
      this.#running = undefined;
    });
  }

  async #steps(): Promise<void> {
    const { clock } = this.#parts;
    while (this.#status?.state === 'running' && !this.#closed) {
      const started_ms = clock.monotonic();
      const verified_bytes = await this.#step();
      if (this.#status.state !== 'running') break;
      const pause_ms =
        verified_bytes === undefined
          ? limits.retry_ms
          : (verified_bytes / this.#status.rate_bytes_per_s) * 1_000 - (clock.monotonic() - started_ms);
      this.#wake = new AbortController();
      // Hosts come between two steps, whatever the rate.
      await clock.sleep(Math.max(1, pause_ms), this.#wake.signal).catch(() => undefined);
    }
    if (this.#status === undefined || this.#status.state === 'running') return;
    this.#keep();
    this.#emit({ kind: 'scrub_ended', status: this.#status });
    this.#schedule();
  }

  /** Verifies the next piece; answers how many bytes, undefined when it could not. */
  async #step(): Promise<number | undefined> {
    const { engine, clock } = this.#parts;
    try {
      const step = await engine.verifyStored(this.#position, limits.step_bytes);
      const before = this.#status;
      if (before === undefined || before.state !== 'running') return step.verified_bytes;
      const damages = [...before.damages, ...step.damages].slice(0, limits.damages);
      const verified_bytes = before.verified_bytes + step.verified_bytes;
      this.#position = step.next;
      this.#status = {
        ...before,
        damages,
        verified_bytes,
        total_bytes: Math.max(before.total_bytes, verified_bytes),
        damage_count: before.damage_count + step.damages.length,
        ...(step.next === undefined && { state: 'completed', ended_ms: clock.now(), total_bytes: verified_bytes }),
      };
      for (const damage of damages.slice(this.#told)) this.#tell(damage);
      this.#told = damages.length;
      if (step.damages.length > 0 || clock.monotonic() - this.#kept_ms > limits.keep_ms) this.#keep();
      return step.verified_bytes;
    } catch (error) {
      if (!isBlockError(error)) throw error;
      return undefined;
    }
  }

  #tell({ detail, seen }: StoredDamage): void {
    if (seen.length === 0) this.#emit({ kind: 'damage', detail });
    for (const { volume, offset, length, head, points } of seen) {
      const where = head ? '' : `, only in ${points.map(({ name }) => name).join(', ')}`;
      this.#emit({ kind: 'damage', volume, detail: `bytes ${offset} to ${offset + length}${where}: ${detail}` });
    }
  }

  #emit(event: DataPlaneEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  #pauseEnds(): void {
    this.#wake.abort();
  }

  /** Starts by itself when the last one is old enough. */
  #schedule(): void {
    const { clock, every_ms } = this.#parts;
    this.#timer?.cancel();
    if (every_ms === 0 || this.#closed) return;
    const last_ms = this.#status?.ended_ms ?? clock.now();
    const wait_ms = Math.max(0, last_ms + every_ms - clock.now());
    this.#timer = clock.after(Math.min(wait_ms, limits.timer_ms), () => {
      if (wait_ms <= limits.timer_ms) this.start({});
      else this.#schedule();
    });
  }

  #keep(): void {
    this.#kept_ms = this.#parts.clock.monotonic();
    const kept: Kept = { status: this.#status!, ...(this.#position && { position: this.#position }) };
    try {
      this.#parts.place.keep(JSON.stringify(kept));
    } catch {
      // A full disk costs the place where a restart would go on, and nothing else.
    }
  }

  #load(): Kept | undefined {
    try {
      const text = this.#parts.place.load();
      return text === undefined ? undefined : (JSON.parse(text) as Kept);
    } catch {
      return undefined;
    }
  }
}
