import { type Clock, passFaultPoint, type Timer } from '@antipode/base';
import { isBlockError } from '../port/errors.ts';
import { writeCheckpoint } from './checkpoint.ts';
import { compactSegments, deadSegments, removableSegments, sparseSegments } from './compaction.ts';
import type { EngineCore } from './core.ts';
import { foldSome } from './folding.ts';
import { encodeChange } from './graph/changes.ts';
import type { Sequence } from './log/types.ts';

const quiet_ms = 1_000;
/** After the medium refused. */
const refused_ms = 5_000;

/**
 * The engine's background work, one bounded piece at a time, hosts first: checkpoints, folding of layers whose points are gone,
 * giving back segments. All of it may be cut short at any moment and goes on after a restart.
 */
export class Housekeeper {
  readonly #core: EngineCore;
  readonly #clock: Clock;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #checkpointed: Sequence = 0 as Sequence;
  #stopped = false;

  constructor(core: EngineCore, clock: Clock) {
    this.#core = core;
    this.#clock = clock;
  }

  /** Something was ordered: work may be due now, or once it is quiet. */
  look(): void {
    if (this.#stopped) return;
    const { pages, limits, sinceCheckpoint_bytes } = this.#core;
    const due = pages.dirtyCount >= limits.dirtyPages || sinceCheckpoint_bytes >= limits.checkpointEvery_bytes;
    if (due) void this.#run();
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
    await this.#running;
    try {
      if (this.#core.log.state().kind === 'running') await this.#checkpoint();
    } catch {
      // A checkpoint only saves time at the next start.
    }
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #run(): Promise<void> {
    this.#running ??= this.#passes().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #passes(): Promise<void> {
    try {
      for (let more = true; more && !this.#stopped; ) more = await this.#pass(false);
    } catch (error) {
      // The medium refuses: the log says so itself where hosts are concerned, and it is tried again.
      if (isBlockError(error) && (error.code === 'no_space' || error.code === 'io_error')) return this.#again();
      this.#core.emit({
        kind: 'damage',
        detail: `background work stopped: ${error instanceof Error ? error.message : String(error)}`,
      });
    }
  }

  /** Looks once more after a while, whatever hosts do. */
  #again(): void {
    if (this.#stopped) return;
    this.#timer ??= this.#clock.after(refused_ms, () => {
      this.#timer = undefined;
      void this.#run();
    });
  }

  /** One round; true when there may be more to do at once. */
  async #pass(force: boolean): Promise<boolean> {
    const core = this.#core;
    const { limits } = core;
    const folded = await foldSome(core);
    const due =
      force ||
      folded ||
      core.pages.dirtyCount >= limits.dirtyPages ||
      core.sinceCheckpoint_bytes >= limits.checkpointEvery_bytes;
    if (due) await this.#checkpoint();
    if (this.#checkpointed === 0) return folded;
    await this.#giveBack();
    const sparse = sparseSegments(core, this.#checkpointed);
    if (sparse.length === 0) return folded;
    await compactSegments(core, sparse);
    await this.#checkpoint();
    return true;
  }

  /** Gives emptied segments back, after a word to every later start: a checkpoint older than this one names them and is void. */
  async #giveBack(): Promise<void> {
    const core = this.#core;
    const segments = removableSegments(core, this.#checkpointed);
    if (segments.length === 0) return;
    core.log.append({
      type: 'control',
      body: encodeChange({ op: 'oldest_checkpoint', sequence: this.#checkpointed }),
    });
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
    const dead = deadSegments(core);
    this.#checkpointed = await writeCheckpoint(core);
    for (const segment of dead) core.emptied.add(segment);
  }
}
