import { type Clock, passFaultPoint, type Timer } from '@antipode/base';
import { isBlockError } from '../port/errors.ts';
import { writeCheckpoint } from './checkpoint.ts';
import { deadSegments, removableSegments, sparseSegments } from './compaction.ts';
import type { EngineCore } from './core.ts';
import { nextTurn } from './end-of-turn.ts';
import { foldSome } from './folding.ts';
import type { Sequence } from './log/types.ts';
import { Interrupted, Pace } from './pace.ts';
import { paysToPack } from './packing.ts';
import { type Rewriting, rewriteSegments } from './rewriting.ts';
import { type Fill, Waning } from './waning.ts';

const quiet_ms = 1_000;
/** Share of the file system that is free when something is unpacked. */
const unpackFree = 0.25;
/** What reads of deep histories left in memory goes when none has come for so long, and before an idle process collects its garbage. */
const unused_ms = 3_000;
/** After the medium refused. */
const refused_ms = 5_000;
const none: ReadonlySet<number> = new Set();

/**
 * The engine's background work, one bounded piece at a time, hosts first: checkpoints, folding of layers whose points are gone,
 * giving back segments, packing what is cold. All of it may be cut short at any moment and goes on after a restart.
 */
export class Housekeeper {
  readonly #core: EngineCore;
  readonly #clock: Clock;
  #timer: Timer | undefined;
  /** When segments are looked at for being cold. */
  #packTimer: Timer | undefined;
  readonly #pace: Pace;
  readonly #waning: Waning;
  #restTimer: Timer | undefined;
  #running: Promise<void> | undefined;
  #checkpointed: Sequence = 0 as Sequence;
  #wantsCheckpoint = false;
  #stopped = false;
  /** Ends what can be ended, and begins nothing. */
  #stopping = false;

  constructor(core: EngineCore, clock: Clock) {
    this.#core = core;
    this.#clock = clock;
    this.#pace = new Pace(core, clock);
    this.#waning = new Waning(core.limits);
    if (core.packer !== undefined) this.#lookForCold();
    core.pages.resolved.onKept = () => this.#rest();
  }

  /** Something was ordered: work may be due now, or once it is quiet. */
  look(): void {
    if (this.#stopped) return;
    if (this.#due()) void this.#run();
    else
      this.#timer ??= this.#clock.after(quiet_ms, () => {
        this.#timer = undefined;
        void this.#run();
      });
  }

  async settle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    this.#running = (async () => {
      for (let more = true; more; ) more = await this.#pass(true);
    })();
    try {
      await this.#running;
    } finally {
      this.#running = undefined;
    }
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#packTimer?.cancel();
    this.#stopping = true;
    this.#pace.interrupt();
    await this.#running;
    try {
      if (this.#core.log.state().kind === 'running') await this.#checkpoint();
    } catch {
      // A checkpoint only saves time at the next start.
    }
    this.#stopped = true;
    this.#timer?.cancel();
    this.#packTimer?.cancel();
    this.#restTimer?.cancel();
  }

  /** Gives up what deep reads left once they have ended; asked again only while there is something. */
  #rest(): void {
    if (this.#stopped) return;
    this.#restTimer ??= this.#clock.after(unused_ms, () => {
      this.#restTimer = undefined;
      if (this.#core.pages.resolved.rest()) this.#rest();
    });
  }

  #run(): Promise<void> {
    this.#running ??= this.#passes().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #passes(): Promise<void> {
    try {
      for (let more = true; more && !this.#stopping; ) more = await this.#pass(false);
    } catch (error) {
      // The medium refuses: the log says so itself where hosts are concerned, and it is tried again.
      if (isBlockError(error) && (error.code === 'no_space' || error.code === 'io_error'))
        return this.#again(refused_ms);
      this.#core.emit({
        kind: 'damage',
        detail: `background work stopped: ${error instanceof Error ? error.message : String(error)}`,
      });
    }
  }

  /** Looks once more after a while, whatever hosts do. */
  #again(delay_ms: number): void {
    if (this.#stopped) return;
    this.#timer ??= this.#clock.after(delay_ms, () => {
      this.#timer = undefined;
      void this.#run();
    });
  }

  /** One round; true when there may be more to do at once. */
  async #pass(force: boolean): Promise<boolean> {
    const core = this.#core;
    const folded = await foldSome(core);
    if (force || folded || this.#due()) await this.#checkpoint();
    // Compaction needs a checkpoint of this process; for what lies still since the last one it is made once.
    if (this.#checkpointed === 0 && this.#wantsCheckpoint) await this.#checkpoint();
    if (this.#checkpointed === 0) return folded;
    await this.#giveBack();
    const sparse = sparseSegments(core, this.#checkpointed, (found) => (force ? none : this.#left(found)));
    if (sparse.length === 0) return (await this.#packSome(force)) || folded;
    await rewriteSegments(core, sparse, { as: 'found', pace: nextTurn });
    await this.#checkpoint();
    return true;
  }

  /** Those that are left alone for now; they are looked at again when nobody writes any more, too. */
  #left(sparse: readonly Fill[]): ReadonlySet<number> {
    if (sparse.length === 0) return none;
    const { free_bytes, total_bytes } = this.#core.log.usage();
    const waning = this.#waning.among(sparse, free_bytes / total_bytes, this.#clock.monotonic());
    if (waning.size > 0) this.#again(this.#core.limits.waneFor_ms);
    return waning;
  }

  #due(): boolean {
    const { pages, limits, sinceCheckpoint_bytes } = this.#core;
    return pages.dirtyCount >= limits.dirtyPages || sinceCheckpoint_bytes >= limits.checkpointEvery_bytes;
  }

  /** Packs a few cold segments, or unpacks a hot one, with rests in between; true when it did. */
  async #packSome(force: boolean): Promise<boolean> {
    const core = this.#core;
    if (core.packer === undefined || core.log.state().kind !== 'running') return false;
    this.#lookForCold();
    const { hot, cold } = core.cold.look(this.#checkpointed, this.#clock.monotonic());
    const { free_bytes, total_bytes } = core.log.usage();
    // Both take space before they give any back; the last of it is for what must be recorded.
    if (free_bytes < 2 * core.limits.packMost_bytes) return false;
    if (hot !== undefined && free_bytes >= unpackFree * total_bytes) return this.#rewriteSlowly([hot], 'plain', force);
    const worth: number[] = [];
    for (const segment of cold)
      if (await paysToPack(core, segment)) worth.push(segment.segment);
      else core.cold.tried(segment.segment);
    if (worth.length === 0) return cold.length > 0;
    return this.#rewriteSlowly(worth, 'packed', force);
  }

  async #rewriteSlowly(segments: readonly number[], as: Rewriting['as'], force: boolean): Promise<boolean> {
    const core = this.#core;
    core.rewriting = new Set(segments);
    const pace = force ? nextTurn : this.#pace.begin(() => this.#meanwhile());
    try {
      await rewriteSegments(core, segments, { as, pace });
    } catch (error) {
      if (error instanceof Interrupted) return false;
      throw error;
    } finally {
      core.rewriting = new Set();
    }
    await this.#checkpoint();
    return true;
  }

  /** What cannot wait until something slow has ended. */
  async #meanwhile(): Promise<void> {
    if (!this.#due()) return;
    await this.#checkpoint();
    await this.#giveBack();
  }

  #lookForCold(): void {
    if (this.#stopping) return;
    this.#packTimer ??= this.#clock.after(this.#core.limits.packLook_ms, () => {
      this.#packTimer = undefined;
      this.#wantsCheckpoint = true;
      void this.#run();
    });
  }

  /** Gives emptied segments back, after a word to every later start: a checkpoint older than this one names them and is void. */
  async #giveBack(): Promise<void> {
    const core = this.#core;
    const segments = removableSegments(core, this.#checkpointed);
    if (segments.length === 0) return;
    core.note({ op: 'oldest_checkpoint', sequence: this.#checkpointed });
    await core.log.durable();
    passFaultPoint('housekeeping.give_back.recorded');
    for (const segment of segments) {
      await core.log.removeSegment(segment);
      passFaultPoint('housekeeping.give_back.removed');
      core.forgetSegment(segment);
    }
  }

  async #checkpoint(): Promise<void> {
    const core = this.#core;
    const proven = [...deadSegments(core), ...core.copied];
    this.#checkpointed = await writeCheckpoint(core);
    for (const segment of proven) {
      core.copied.delete(segment);
      core.emptied.add(segment);
    }
  }
}
