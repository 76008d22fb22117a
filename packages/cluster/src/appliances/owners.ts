import type { PointId, SessionId, VolumeId } from '@antipode/base';
import type { DataPlane } from '../local/api.ts';

/**
 * Which appliance has what. The engines know; what they said is kept until something moves, or one of them is started again. In a
 * cluster of one appliance nothing is asked.
 */
export class Owners {
  readonly #planes: ReadonlyMap<string, DataPlane>;
  readonly #volumes = new Map<VolumeId, string>();
  readonly #points = new Map<PointId, string>();
  readonly #halves = new Map<SessionId, string>();
  #moves = 0;

  constructor(planes: ReadonlyMap<string, DataPlane>) {
    this.#planes = planes;
  }

  ofVolume(id: VolumeId): Promise<string | undefined> {
    return this.#find(this.#volumes, id, (plane) => plane.volume(id));
  }

  ofPoint(id: PointId): Promise<string | undefined> {
    return this.#find(this.#points, id, (plane) => plane.point(id));
  }

  ofHalf(session: SessionId): Promise<string | undefined> {
    return this.#find(this.#halves, session, (plane) => plane.half(session));
  }

  learn(volume: VolumeId, appliance: string): void {
    this.#volumes.set(volume, appliance);
  }

  unlearn(volume: VolumeId): void {
    this.#volumes.delete(volume);
  }

  /** Who has what is asked anew. */
  forget(): void {
    this.#volumes.clear();
    this.#points.clear();
    this.#halves.clear();
  }

  /** Something has, or may have, another owner than a moment ago: what is being asked about that moment counts no more. */
  moved(): void {
    this.#moves += 1;
    this.forget();
  }

  /**
   * What `ask` comes to when nothing moved while it asked. The new owner may have answered before it was one, and the old one after it was
   * one no more: then nobody seems to have what moved.
   */
  async still<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      const moves = this.#moves;
      const found = await ask();
      if (moves === this.#moves) return found;
    }
  }

  async #find<K>(
    known: Map<K, string>,
    key: K,
    has: (plane: DataPlane) => Promise<{ readonly departing?: true } | undefined>,
  ): Promise<string | undefined> {
    const [only, ...others] = this.#planes.keys();
    if (others.length === 0) return only;
    const owner = known.get(key);
    if (owner !== undefined) return owner;
    const answers = await this.still(() =>
      Promise.allSettled([...this.#planes].map(async ([id, plane]) => ({ id, found: await has(plane) }))),
    );
    const having = answers.flatMap((answer) =>
      answer.status === 'fulfilled' && answer.value.found !== undefined ? [answer.value] : [],
    );
    const staying = having.find(({ found }) => !found?.departing);
    if (staying !== undefined) {
      if (known.size >= knownMost) known.clear();
      known.set(key, staying.id);
      return staying.id;
    }
    // Where one could not be asked, nothing is known.
    const failed = answers.find((answer) => answer.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    // What is leaving, and is nowhere else yet, is where it was: not for long.
    return having[0]?.id;
  }
}

/** Points come and go: what is known of them is bounded. */
const knownMost = 100_000;
