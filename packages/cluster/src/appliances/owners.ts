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

  constructor(planes: ReadonlyMap<string, DataPlane>) {
    this.#planes = planes;
  }

  ofVolume(id: VolumeId): Promise<string | undefined> {
    return this.#find(this.#volumes, id, async (plane) => {
      const volume = await plane.volume(id);
      // One that is leaving is at the other end already, or on its way there.
      return volume !== undefined && !volume.departing;
    });
  }

  ofPoint(id: PointId): Promise<string | undefined> {
    return this.#find(this.#points, id, async (plane) => (await plane.point(id)) !== undefined);
  }

  ofHalf(session: SessionId): Promise<string | undefined> {
    return this.#find(this.#halves, session, async (plane) => (await plane.half(session)) !== undefined);
  }

  learn(volume: VolumeId, appliance: string): void {
    this.#volumes.set(volume, appliance);
  }

  unlearn(volume: VolumeId): void {
    this.#volumes.delete(volume);
  }

  forget(): void {
    this.#volumes.clear();
    this.#points.clear();
    this.#halves.clear();
  }

  async #find<K>(
    known: Map<K, string>,
    key: K,
    has: (plane: DataPlane) => Promise<boolean>,
  ): Promise<string | undefined> {
    const [only, ...others] = this.#planes.keys();
    if (others.length === 0) return only;
    const owner = known.get(key);
    if (owner !== undefined) return owner;
    const answers = await Promise.allSettled(
      [...this.#planes].map(async ([id, plane]) => ((await has(plane)) ? id : undefined)),
    );
    for (const answer of answers) {
      if (answer.status !== 'fulfilled' || answer.value === undefined) continue;
      if (known.size >= knownMost) known.clear();
      known.set(key, answer.value);
      return answer.value;
    }
    // Where one could not be asked, nothing is known.
    const failed = answers.find((answer) => answer.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    return undefined;
  }
}

/** Points come and go: what is known of them is bounded. */
const knownMost = 100_000;
