import {
  type Clock,
  type PointId,
  passFaultPoint,
  pointId,
  type Random,
  type SessionId,
  volumeId,
} from '@antipode/base';
import type { PointInfo, PointSpec } from '@antipode/blocks';
import type { MoveProgress } from '@antipode/replication';
import type { DataPlane } from '../local/api.ts';

/** Replication as a move needs it: paused around the cutover, on both sides, and given back as it was. */
export interface SessionPauses {
  pauseForSystem(
    ids: readonly SessionId[],
    suspension: { readonly reason: 'migration'; readonly by: string },
  ): Promise<void>;
  resumeFromSystem(by: string): void;
}

export interface MoveParts {
  readonly id: string;
  readonly seeds: readonly string[];
  readonly to: string;
  readonly source: DataPlane;
  readonly destination: DataPlane;
  readonly sessions: SessionPauses;
  /** Who has what is to be asked anew. */
  readonly moved: () => void;
  readonly clock: Clock;
  readonly random: Random;
}

export const moveLimits = {
  /** A round that brings less than this is followed by no other before a cutover. */
  small_bytes: 16 * 1024 * 1024,
  rounds: 5,
  /** Hosts wait during a cutover: it is given up after this long, which is less than they bear. */
  gateMost_ms: 15_000,
  retry_ms: 250,
  /** How often copying is tried before somebody is told, and the pause between. */
  attempts: 20,
  again_ms: 1_000,
} as const;

const holdPrefix = 'migration:';
const holderOf = (move: string): string => `${holdPrefix}${move}`;
/** The move that a hold on a point is for, if it is one's. */
export const moveOf = (holder: string): string | undefined =>
  holder.startsWith(holdPrefix) ? holder.slice(holdPrefix.length) : undefined;

/** One unit on its way from one appliance to another. Every step may be repeated after a restart; what is durable is in the two engines. */
export class Move {
  readonly #parts: MoveParts;
  #cancelled = false;

  constructor(parts: MoveParts) {
    this.#parts = parts;
  }

  get cancelled(): boolean {
    return this.#cancelled;
  }

  /** Stops copying; resolves when nothing of it is running. */
  async cancel(): Promise<void> {
    this.#cancelled = true;
    await this.#parts.source.cancelMove(this.#parts.id);
  }

  progress(): Promise<MoveProgress | undefined> {
    return this.#parts.source.moveProgress(this.#parts.id);
  }

  sessions(): Promise<readonly SessionId[]> {
    return this.#parts.source.unitOf(this.#parts.seeds.map(volumeId)).then((unit) => unit.sessions);
  }

  /** Copies while hosts write, until little is left. */
  async sync(): Promise<void> {
    for (let round = 0; round < moveLimits.rounds; round++) {
      if (this.#cancelled) return;
      const { total_bytes } = await this.#round();
      if (round > 0 && total_bytes <= moveLimits.small_bytes) return;
    }
  }

  /** Everything frozen at one moment is at the destination when it resolves. */
  async #round(): Promise<MoveProgress> {
    const { id, source } = this.#parts;
    const before = await this.#points();
    const { volumes } = await source.unitOf(this.#parts.seeds.map(volumeId));
    const point = this.#newPoint();
    await source.freeze(point, volumes, holderOf(id));
    const done = await this.#ship();
    // The next round builds on this one.
    await this.#release(before.map((one) => one.id));
    return done;
  }

  /** A point of all that moves, of this moment. */
  #newPoint(): PointSpec {
    const { clock, random } = this.#parts;
    return { id: pointId(random.uuid()), kind: 'internal', instant_ms: clock.now(), tag: { purpose: 'migration' } };
  }

  /**
   * The unit leaves the one and is taken over by the other. Resolves when it has; rejects when it was given up, and then the
   * source serves it as before. Hosts wait meanwhile, and see no error.
   */
  async cutOver(): Promise<void> {
    const { id, seeds, source, destination, sessions, clock } = this.#parts;
    await this.sync();
    let failure: unknown;
    try {
      await sessions.pauseForSystem(await this.sessions(), { reason: 'migration', by: id });
      passFaultPoint('migration.sessions.paused');
      const bound = clock.after(moveLimits.gateMost_ms, () => void source.cancelMove(id).catch(() => undefined));
      try {
        const manifest = await source.depart(id, seeds.map(volumeId), this.#newPoint());
        passFaultPoint('migration.unit.departed');
        await source.move(this.#order());
        passFaultPoint('migration.images.shipped');
        const arrival = (await destination.arrivals()).find(({ move }) => move === id);
        if (arrival === undefined) throw new Error('nothing has arrived at the destination');
        await destination.adopt(id, arrival.epoch, manifest);
        passFaultPoint('migration.unit.adopted');
      } finally {
        bound.cancel();
      }
    } catch (error) {
      failure = error;
    }
    const adopted = await this.settle();
    passFaultPoint('migration.unit.settled');
    // Sessions go on where the unit is now.
    sessions.resumeFromSystem(id);
    if (!adopted) throw failure ?? new Error('the destination has not taken it over');
  }

  /**
   * Finds out who has the unit, and makes an end of it: true, the destination. Tries until both can be asked: whoever has it,
   * exactly one of them serves it from then on.
   */
  async settle(): Promise<boolean> {
    const { id, source, destination, clock } = this.#parts;
    for (;;) {
      try {
        const { adopted } = await destination.settleArrival(id);
        // Nobody may still take the source for the owner when it knows the unit no more: it would seem that there is no such unit.
        this.#parts.moved();
        if (adopted) await source.departed(id);
        else await source.stay(id);
        this.#parts.moved();
        return adopted;
      } catch {
        await clock.sleep(moveLimits.retry_ms);
      }
    }
  }

  /** Nothing of the move is left at either end; the unit stays where it is. */
  async forget(): Promise<void> {
    const { id, source, destination } = this.#parts;
    await source.cancelMove(id);
    await this.#release((await this.#points()).map((point) => point.id));
    await destination.forgetArrival(id);
  }

  /** An appliance that is being started again is waited for: what has arrived there stays. */
  async #ship(): Promise<MoveProgress> {
    const { source, clock } = this.#parts;
    for (let attempt = 1; ; attempt++) {
      try {
        return await source.move(this.#order());
      } catch (error) {
        if (this.#cancelled || attempt >= moveLimits.attempts) throw error;
        await clock.sleep(moveLimits.again_ms);
      }
    }
  }

  #order() {
    const { id, to, seeds } = this.#parts;
    return { move: id, to, volumes: seeds.map(volumeId) };
  }

  async #points(): Promise<readonly PointInfo[]> {
    const { id, source } = this.#parts;
    return (await source.points()).filter((point) => point.holds.includes(holderOf(id)));
  }

  async #release(points: readonly PointId[]): Promise<void> {
    const { id, source } = this.#parts;
    for (const point of points) {
      await source.dropPoint(point);
      await source.release(point, holderOf(id));
    }
  }
}
