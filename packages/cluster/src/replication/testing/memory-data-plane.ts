import type { Clock, PointId, SessionId, VolumeId } from '@antipode/base';
import type { HalfInfo, PointInfo, PointSpec, Tombstone, VolumeInfo } from '@antipode/blocks';
import type { ShipOrder, ShipOutcome } from '@antipode/replication';
import type { DataPlane, DataPlaneEvent } from '../../local/api.ts';

/** What a cycle costs on the link: virtual time, and payload. */
export type CycleCost = (session: SessionId) => { readonly took_ms: number; readonly bytes: number };

/**
 * A data plane that holds volumes, points and halves and no bytes: what sessions are driven against where their schedule is
 * looked at and not their data. What is not needed for that is not there, and says so when it is called.
 */
export class MemoryDataPlane {
  readonly #clock: Clock;
  readonly #cost: CycleCost;
  readonly #volumes = new Map<VolumeId, VolumeInfo>();
  readonly #points = new Map<PointId, PointInfo>();
  readonly #halves = new Map<SessionId, HalfInfo>();
  readonly #graves = new Map<SessionId, Tombstone>();
  readonly #listeners = new Set<(event: DataPlaneEvent) => void>();
  #peer: MemoryDataPlane | undefined;
  /** Ship orders that run now, and the most that ever ran. */
  shipping = 0;
  shippingMost = 0;

  constructor(clock: Clock, cost: CycleCost) {
    this.#clock = clock;
    this.#cost = cost;
  }

  connect(peer: MemoryDataPlane): void {
    this.#peer = peer;
  }

  /** The port that production code sees. */
  port(): DataPlane {
    return new Proxy(this as unknown as DataPlane, {
      get: (target, name) => {
        const found = Reflect.get(target, name) as unknown;
        if (typeof found === 'function') return found.bind(target);
        throw new Error(`${String(name)} is not part of a data plane without data`);
      },
    });
  }

  async createVolume(spec: { id: VolumeId; name: string; size: number; destination?: boolean }): Promise<void> {
    const { id, name, size, destination = false } = spec;
    this.#volumes.set(id, { id, name, size, family: id, destination, sealed: false, tag: {} });
  }
  async deleteVolume(id: VolumeId): Promise<void> {
    this.#volumes.delete(id);
  }
  async appliances() {
    return [];
  }
  async volume(id: VolumeId): Promise<VolumeInfo | undefined> {
    return this.#volumes.get(id);
  }
  async changeVolume(): Promise<void> {}
  get kept(): readonly VolumeInfo[] {
    return [...this.#volumes.values()];
  }
  async createHalf(half: Omit<HalfInfo, 'refused' | 'joining'>): Promise<void> {
    this.#halves.set(half.session, { ...half, refused: [], joining: [] });
    this.#inSession(half.session, half.session);
  }
  async removeHalf(session: SessionId): Promise<void> {
    const half = this.#halves.get(session);
    if (half !== undefined) this.#graves.set(session, { session, generation: half.generation });
    this.#inSession(session, undefined);
    this.#halves.delete(session);
  }
  async half(session: SessionId): Promise<HalfInfo | undefined> {
    return this.#halves.get(session);
  }
  async settled(): Promise<void> {}
  async halves(): Promise<readonly HalfInfo[]> {
    return [...this.#halves.values()];
  }
  async tombstone(session: SessionId): Promise<Tombstone | undefined> {
    return this.#graves.get(session);
  }
  async points(): Promise<readonly PointInfo[]> {
    return [...this.#points.values()];
  }
  async pointsOf(): Promise<readonly PointInfo[]> {
    return [];
  }
  async point(id: PointId): Promise<PointInfo | undefined> {
    return this.#points.get(id);
  }
  async hold(): Promise<void> {}
  async digest(_: VolumeId, point: PointId): Promise<string> {
    return digestOf(point);
  }
  async bytesSince(): Promise<number> {
    return 0;
  }
  async freeze(spec: PointSpec, volumes: readonly VolumeId[], hold?: string): Promise<PointInfo> {
    await this.#clock.sleep(2);
    const members = volumes.map((volume) => ({ volume, size: this.#volumes.get(volume)?.size ?? 0 }));
    const info = { ...spec, members, holds: hold === undefined ? [] : [hold], dropped: false };
    this.#points.set(spec.id, info);
    return info;
  }
  async advanceBase(session: SessionId, _: unknown, base: NonNullable<HalfInfo['base']>): Promise<void> {
    this.#setBase(session, base);
  }
  async resetBase(session: SessionId, _: unknown, base: HalfInfo['base']): Promise<void> {
    if (base !== undefined) this.#setBase(session, base);
  }
  async admit(): Promise<void> {}
  async cancelShip(): Promise<void> {}
  async progress(): Promise<undefined> {
    return undefined;
  }
  onEvent(listener: (event: DataPlaneEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async ship({ plan }: ShipOrder): Promise<ShipOutcome> {
    this.shipping += 1;
    this.shippingMost = Math.max(this.shippingMost, this.shipping);
    const { took_ms, bytes } = this.#cost(plan.session);
    await this.#clock.sleep(took_ms);
    this.shipping -= 1;
    const target = plan.points.at(-1)!;
    const digests = plan.pairs.map(() => digestOf(target.id));
    this.#peer?.commit(plan.session, target, digests);
    return {
      kind: 'done',
      digests,
      progress: {
        phase: 'committing',
        total_bytes: bytes,
        copied_bytes: bytes,
        shipped_bytes: bytes,
        address: { point: 1, pair: 0, block: 0 },
      },
    };
  }

  commit(session: SessionId, target: PointSpec, digests: readonly string[]): void {
    const half = this.#halves.get(session)!;
    const members = half.pairs.map(({ local }) => ({ volume: local, size: this.#volumes.get(local)?.size ?? 0 }));
    const { id, kind, instant_ms, tag } = target;
    this.#points.set(id, { id, kind, instant_ms, tag, members, holds: [], dropped: false });
    for (const { local } of half.pairs) this.#volumes.set(local, { ...this.#volumes.get(local)!, replica: id });
    this.#setBase(session, { point: id, digests });
  }

  #inSession(session: SessionId, shown: SessionId | undefined): void {
    for (const { local } of this.#halves.get(session)?.pairs ?? []) {
      const { session: _, ...volume } = this.#volumes.get(local) ?? {};
      if ('id' in volume) this.#volumes.set(local, { ...(volume as VolumeInfo), ...(shown && { session: shown }) });
    }
  }

  #setBase(session: SessionId, base: NonNullable<HalfInfo['base']>): void {
    const half = this.#halves.get(session)!;
    if (half.base !== undefined && half.base.point !== base.point) this.#points.delete(half.base.point);
    this.#halves.set(session, { ...half, base });
  }
}

const digestOf = (point: PointId): string =>
  `${point.replaceAll('-', '')}${point.replaceAll('-', '')}`.padEnd(64, '0').slice(0, 64);
