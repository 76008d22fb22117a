import {
  type Clock,
  type CycleId,
  type PointId,
  type ProposalId,
  passFaultPoint,
  type SessionId,
  type TestId,
  type VolumeId,
} from '@antipode/base';
import { BLOCK_BYTES, type BlockDevice } from '../port/device.ts';
import type { BlockEngine, BlockRun, Difference, EngineEvent } from '../port/engine.ts';
import { BlockError } from '../port/errors.ts';
import type {
  Base,
  CyclePlan,
  Digest,
  EngineUsage,
  Generation,
  HalfInfo,
  Pair,
  PointInfo,
  PointSpec,
  RestartAddress,
  Restoration,
  Role,
  StageInfo,
  Tag,
  Tombstone,
  VerifyPosition,
  VerifyStep,
  VolumeInfo,
  VolumeUsage,
  WriteState,
} from '../port/types.ts';
import type { Chain } from './chain.ts';
import { changedWithin } from './changed-within.ts';
import { accountErrors } from './check/check-accounts.ts';
import { verifyStored } from './check/verify-stored.ts';
import type { EngineCore } from './core.ts';
import { dataBlocks } from './data-blocks.ts';
import { differenceOf } from './difference.ts';
import type { Change } from './graph/changes.ts';
import { ancestry, memberOf, noLayer } from './graph/graph.ts';
import * as plan from './graph/plan.ts';
import { Housekeeper } from './housekeeper.ts';
import { halfInfo, pointInfo, stageInfo, volumeInfo, writeStateOf } from './infos.ts';
import type { SegmentInfo } from './log/types.ts';
import { Moving } from './moving.ts';
import { raiseAbove, stageRuns, verifyStaged } from './staging.ts';
import { PointDevice, VolumeDevice } from './volume-device.ts';

/** In the tag of what diverged: how much it is, bytes. */
const divergedTag = 'diverged_bytes';

/** The embedded engine: an append-only log is the truth, graph and index are what it says. */
export class EmbeddedEngine implements BlockEngine {
  readonly #core: EngineCore;
  readonly #housekeeper: Housekeeper;
  readonly moving: Moving;
  readonly durable = (): Promise<void> => this.#core.log.durable();
  /** To be told of once the log takes writes again: then all that was ordered is durable. */
  readonly #untold: (() => unknown)[] = [];

  constructor(core: EngineCore, clock: Clock) {
    this.#core = core;
    this.#housekeeper = new Housekeeper(core, clock);
    this.moving = new Moving(core);
    core.knowSegments();
    core.onWork = () => this.#housekeeper.look();
    core.log.onMoved((moves) => {
      core.moves += 1;
      for (const move of moves) {
        if (move.type !== 'data') {
          core.holdsMore(move.to.segment);
          continue;
        }
        const layer = core.graph.folded.get(move.layer) ?? move.layer;
        core.writer.move(core.layerIndex(layer), move.block, move.count, move.to, move.sequence);
      }
    });
    core.log.onState((state) => {
      const now = writeStateOf(state);
      if (now.kind === 'running') {
        for (const tell of this.#untold.splice(0)) tell();
        return core.emit({ kind: 'writes_resumed' });
      }
      core.emit({ kind: 'writes_stopped', reason: now.reason, detail: now.detail });
    });
    this.#housekeeper.look();
  }

  // --- volumes ------------------------------------------------------------------------------------------------------

  async createVolume(spec: {
    id: VolumeId;
    name: string;
    size: number;
    destination?: boolean;
    tag: Tag;
  }): Promise<void> {
    await this.#do(plan.planCreateVolume(this.#core.graph, spec));
  }

  async deleteVolume(id: VolumeId): Promise<void> {
    const known = this.#core.graph.volumes.has(id);
    await this.#do(plan.planDeleteVolume(this.#core.graph, id));
    if (known) this.#core.emit({ kind: 'volume_deleted', volume: id });
  }

  async resizeVolume(id: VolumeId, size: number): Promise<void> {
    await this.#do(plan.planResize(this.#core.graph, id, size));
    this.#core.emit({ kind: 'volume_changed', volume: id });
  }

  async changeVolume(id: VolumeId, change: { name?: string; tag?: Tag; destination?: false }): Promise<void> {
    await this.#do(plan.planChangeVolume(this.#core.graph, id, change));
    this.#core.emit({ kind: change.destination === undefined ? 'volume_changed' : 'access_changed', volume: id });
  }

  volumes(): readonly VolumeInfo[] {
    return [...this.#core.graph.volumes.values()].map((volume) => volumeInfo(this.#core.graph, volume));
  }

  volume(id: VolumeId): VolumeInfo | undefined {
    const volume = this.#core.graph.volumes.get(id);
    return volume && volumeInfo(this.#core.graph, volume);
  }

  async volumeUsage(id: VolumeId): Promise<VolumeUsage> {
    const { graph } = this.#core;
    const volume = plan.needVolume(graph, id);
    const chain = this.#core.chains.of(volume.top);
    const logical = await dataBlocks(chain, this.#core.pages);
    const others = new Set<number>();
    for (const other of graph.volumes.values())
      if (other.id !== id) for (const layer of ancestry(graph, other.top)) others.add(layer.id);
    let unique = 0;
    let stored_bytes = 0;
    const mine = new Set<number>([...ancestry(graph, volume.top)].map((layer) => layer.id));
    for (const point of graph.points.values()) {
      for (const member of point.members)
        if (member.volume === id) for (const layer of ancestry(graph, member.layer)) mine.add(layer.id);
    }
    for (const layer of mine) {
      if (others.has(layer)) continue;
      const index = this.#core.layerIndex(layer as never);
      unique += index.data;
      stored_bytes += index.stored_bytes;
    }
    return { logical_bytes: logical * BLOCK_BYTES, unique_bytes: unique * BLOCK_BYTES, stored_bytes };
  }

  bytesSince(volume: VolumeId, point: PointId): number {
    const { graph } = this.#core;
    const member = plan.needMember(graph, point, volume);
    const head = [...ancestry(graph, plan.needVolume(graph, volume).top)].map((layer) => layer.id);
    const back = [...ancestry(graph, member.layer)].map((layer) => layer.id);
    const shared = new Set(back);
    const common = head.find((layer) => shared.has(layer));
    const until = (layers: typeof head) => (common === undefined ? layers : layers.slice(0, layers.indexOf(common)));
    const changed = [...until(head), ...until(back)];
    let blocks = 0;
    for (const layer of changed) {
      const index = this.#core.layerIndex(layer);
      blocks += index.data + index.holes;
    }
    return blocks * BLOCK_BYTES;
  }

  // --- points -------------------------------------------------------------------------------------------------------

  async freeze(point: PointSpec, volumes: readonly VolumeId[], hold?: string): Promise<PointInfo> {
    this.#order(plan.planFreeze(this.#core.graph, point, volumes, hold));
    // As it was when it was ordered: it may be gone again before it is durable.
    const info = this.#point(point.id);
    await this.#core.log.durable();
    passFaultPoint('engine.freeze.durable');
    return info;
  }

  async dropPoint(id: PointId): Promise<void> {
    await this.#do(plan.planDropPoint(this.#core.graph, id));
  }

  async changePoint(id: PointId, tag: Tag): Promise<void> {
    await this.#do(plan.planChangePoint(this.#core.graph, id, tag));
  }

  async hold(point: PointId, holder: string): Promise<void> {
    await this.#do(plan.planHold(this.#core.graph, point, holder));
  }

  async release(point: PointId, holder: string): Promise<void> {
    await this.#do(plan.planRelease(this.#core.graph, point, holder));
  }

  points(): readonly PointInfo[] {
    return [...this.#core.graph.points.values()].map((point) => pointInfo(this.#core.graph, point));
  }

  pointsOf(volumes: readonly VolumeId[], since?: PointId): readonly PointInfo[] {
    const wanted = new Set(volumes);
    const found: PointInfo[] = [];
    // Points are kept in the order in which they were made.
    let isAfter = since === undefined || !this.#core.graph.points.has(since);
    for (const point of this.#core.graph.points.values()) {
      if (isAfter && !point.dropped && point.members.some((member) => wanted.has(member.volume)))
        found.push(pointInfo(this.#core.graph, point));
      isAfter ||= point.id === since;
    }
    return found;
  }

  point(id: PointId): PointInfo | undefined {
    const point = this.#core.graph.points.get(id);
    return point && pointInfo(this.#core.graph, point);
  }

  async fork(spec: { id: VolumeId; name: string; point: PointId; of: VolumeId; tag: Tag }): Promise<void> {
    await this.#do(plan.planFork(this.#core.graph, spec));
  }

  async restore(images: readonly Restoration[]): Promise<void> {
    await this.#do(plan.planRestore(this.#core.graph, images));
    for (const { volume } of images) this.#core.emit({ kind: 'volume_changed', volume });
  }

  // --- bytes --------------------------------------------------------------------------------------------------------

  open(volume: VolumeId): BlockDevice {
    plan.needVolume(this.#core.graph, volume);
    return new VolumeDevice(this.#core, volume);
  }

  openPoint(point: PointId, volume: VolumeId): BlockDevice {
    plan.needMember(this.#core.graph, point, volume);
    return new PointDevice(this.#core, volume, () => this.#image(point, volume));
  }

  difference(volume: VolumeId, from: PointId | undefined, to: PointId): Promise<Difference> {
    return differenceOf(
      from === undefined ? undefined : this.#image(from, volume),
      this.#image(to, volume),
      this.#core.pages,
    );
  }

  changedWithin(
    volume: VolumeId,
    from: PointId | undefined,
    to: PointId,
    block: number,
    count: number,
    mark: (block: number) => void,
  ): Promise<number | undefined> {
    const images = () => ({
      ...(from !== undefined && { from: this.#image(from, volume) }),
      to: this.#image(to, volume),
    });
    return changedWithin(images, this.#core.pages, block, count, mark);
  }

  async readBlocks(
    volume: VolumeId,
    point: PointId,
    block: number,
    count: number,
    payload: Uint8Array,
    checksums: Uint8Array,
  ): Promise<void> {
    const chain = this.#image(point, volume);
    if (
      block < 0 ||
      count < 1 ||
      (block + count) * BLOCK_BYTES > chain.size ||
      payload.length !== count * BLOCK_BYTES ||
      checksums.length !== count * 8
    ) {
      throw new BlockError(
        'out_of_range',
        `blocks ${block} to ${block + count} are outside of the image or of the buffers`,
      );
    }
    const sums = new BigUint64Array(count);
    await this.#core.read(chain, block, count, payload, sums, volume);
    checksums.set(new Uint8Array(sums.buffer));
  }

  digest(volume: VolumeId, point: PointId): Promise<Digest> {
    return this.#core.digests.root(this.#image(point, volume));
  }

  async pageDigests(volume: VolumeId, point: PointId, page: number, count: number): Promise<readonly Digest[]> {
    return this.#core.digests.pages(this.#image(point, volume), page, count);
  }

  // --- halves -------------------------------------------------------------------------------------------------------

  async createHalf(half: {
    session: SessionId;
    role: Role;
    generation: Generation;
    pairs: readonly Pair[];
    tag: Tag;
  }): Promise<void> {
    await this.#do(plan.planCreateHalf(this.#core.graph, half));
    this.#accessChanged(half.pairs);
  }

  async changeHalf(
    session: SessionId,
    change: { pairs?: readonly Pair[]; joining?: readonly Pair[]; tag?: Tag },
  ): Promise<void> {
    const { pairs } = plan.needHalf(this.#core.graph, session);
    await this.#do(plan.planChangeHalf(this.#core.graph, session, change));
    if (change.pairs !== undefined) this.#accessChanged([...pairs, ...change.pairs]);
  }

  async removeHalf(session: SessionId): Promise<void> {
    const pairs = this.#core.graph.halves.get(session)?.pairs ?? [];
    await this.#do(plan.planRemoveHalf(this.#core.graph, session));
    this.#accessChanged(pairs);
  }

  halves(): readonly HalfInfo[] {
    const { graph } = this.#core;
    return [...graph.halves.values()].map((half) => halfInfo(graph, half));
  }

  half(session: SessionId): HalfInfo | undefined {
    const half = this.#core.graph.halves.get(session);
    return half && halfInfo(this.#core.graph, half);
  }

  tombstones(): readonly Tombstone[] {
    return [...this.#core.graph.tombstones].map(([session, generation]) => ({ session, generation }));
  }

  async advanceBase(session: SessionId, generation: Generation, base: Base): Promise<void> {
    await this.#do(plan.planAdvanceBase(this.#core.graph, session, generation, base));
  }

  async resetBase(session: SessionId, generation: Generation, base: Base | undefined): Promise<void> {
    await this.#do(plan.planResetBase(this.#core.graph, session, generation, base));
  }

  // --- receiving ----------------------------------------------------------------------------------------------------

  async openStage(cycle: CyclePlan): Promise<StageInfo> {
    const { graph } = this.#core;
    // It takes the place of an older stage in the same record: after a death, or where it does not fit, there is one of the two.
    await this.#do(plan.planOpenStage(graph, cycle));
    return stageInfo(plan.needStage(graph, cycle.session, cycle.cycle).stage);
  }

  writeStage(
    session: SessionId,
    cycle: CycleId,
    point: number,
    pair: number,
    runs: readonly BlockRun[],
  ): void | Promise<void> {
    stageRuns(this.#core, session, cycle, point, pair, runs, true);
    return this.#core.log.written();
  }

  async syncStage(session: SessionId, cycle: CycleId, address: RestartAddress): Promise<RestartAddress> {
    const recorded = this.#do(plan.planStageAddress(this.#core.graph, session, cycle, address));
    // Of this moment: what is ordered while it waits is not durable when it wakes.
    const reached = plan.needStage(this.#core.graph, session, cycle).stage.address;
    await recorded;
    return reached;
  }

  verifyStage(
    session: SessionId,
    cycle: CycleId,
    progress: (blocks: number, of: number) => void,
  ): Promise<readonly (readonly Digest[])[]> {
    return verifyStaged(this.#core, session, cycle, progress);
  }

  async stagePageDigests(
    session: SessionId,
    cycle: CycleId,
    point: number,
    pair: number,
    page: number,
    count: number,
  ): Promise<readonly Digest[]> {
    const layer = plan.needStage(this.#core.graph, session, cycle).stage.layers[pair]?.[point];
    if (layer === undefined || layer === noLayer)
      throw new BlockError('out_of_range', `the cycle has no point ${point} of pair ${pair}`);
    return this.#core.digests.pages(this.#core.chains.of(layer), page, count);
  }

  async repairStage(
    session: SessionId,
    cycle: CycleId,
    point: number,
    pair: number,
    runs: readonly BlockRun[],
  ): Promise<void> {
    stageRuns(this.#core, session, cycle, point, pair, runs, false);
    await raiseAbove(this.#core, session, cycle, point, pair, runs);
    await this.#core.log.durable();
  }

  async commitStage(
    session: SessionId,
    cycle: CycleId,
    generation: Generation,
    digests: readonly Digest[],
  ): Promise<void> {
    const { graph } = this.#core;
    const change = plan.planCommitStage(graph, session, cycle, generation, digests);
    const staged = graph.halves.get(session)?.stage?.plan;
    await this.#do(change, () => {
      if (staged === undefined) return;
      this.#committed(session, staged);
      for (const pair of staged.pairs) this.#core.emit({ kind: 'volume_changed', volume: pair.local });
      // A member that has come follows its replica from now on: open connections must look anew.
      for (const pair of staged.pairs) if (pair.whole) this.#core.emit({ kind: 'access_changed', volume: pair.local });
    });
  }

  async abandonStage(session: SessionId, cycle: CycleId): Promise<void> {
    await this.#do(plan.planAbandonStage(this.#core.graph, session, cycle));
  }

  // --- change of direction ------------------------------------------------------------------------------------------

  async seal(session: SessionId, proposal: ProposalId, point: PointSpec): Promise<PointInfo> {
    const { graph } = this.#core;
    this.#order(plan.planSeal(graph, session, proposal, point));
    const { pairs, seal } = plan.needHalf(graph, session);
    const info = this.#point(seal?.point ?? point.id);
    await this.#core.log.durable();
    passFaultPoint('engine.seal.durable');
    this.#accessChanged(pairs);
    return info;
  }

  async unseal(session: SessionId, proposal: ProposalId): Promise<void> {
    await this.#do(plan.planUnseal(this.#core.graph, session, proposal));
    this.#accessChanged(plan.needHalf(this.#core.graph, session).pairs);
  }

  async refuseProposal(session: SessionId, proposal: ProposalId): Promise<void> {
    await this.#do(plan.planRefuse(this.#core.graph, session, proposal));
  }

  async startTest(session: SessionId, test: TestId, from?: PointId): Promise<void> {
    await this.#do(plan.planStartTest(this.#core.graph, session, test, from));
    this.#testChanged(session);
  }

  async stopTest(session: SessionId, test: TestId, keep?: PointSpec): Promise<void> {
    await this.#do(plan.planStopTest(this.#core.graph, session, test, keep));
    this.#testChanged(session);
  }

  async promote(session: SessionId, promotion: plan.Promotion): Promise<void> {
    const { graph } = this.#core;
    const change = plan.planPromote(graph, session, promotion);
    const staged = promotion.commit && graph.halves.get(session)?.stage?.plan;
    await this.#do(change, () => staged !== undefined && this.#committed(session, staged));
    this.#accessChanged(plan.needHalf(graph, session).pairs);
  }

  async demote(
    session: SessionId,
    learned: Generation,
    base: PointId | undefined,
    preserve: PointSpec,
  ): Promise<{ diverged_bytes: number }> {
    const { graph } = this.#core;
    const half = plan.needHalf(graph, session);
    if (plan.planDemote(graph, session, learned, undefined, undefined) === undefined) {
      await this.#do(undefined);
      return { diverged_bytes: Number(graph.points.get(preserve.id)?.tag[divergedTag] ?? 0) };
    }
    let agreed: Base | undefined;
    if (base !== undefined) {
      const known = half.base?.point === base ? { pairs: half.pairs, ...half.base } : undefined;
      agreed = known ?? (await this.#baseAt(half.pairs, base));
    }
    // From here on one synchronous turn: what is counted is what is kept.
    let diverged_bytes = 0;
    for (const { local } of half.pairs) {
      const held = base !== undefined && memberOf(plan.needPoint(graph, base), local) !== undefined;
      diverged_bytes += held ? this.bytesSince(local, base) : this.#storedBytes(local);
    }
    // With the point, so that whoever asks again after a death hears the same.
    const kept = { ...preserve, tag: { ...preserve.tag, [divergedTag]: diverged_bytes } };
    await this.#do(plan.planDemote(graph, session, learned, agreed, diverged_bytes > 0 ? kept : undefined));
    this.#accessChanged(half.pairs);
    return { diverged_bytes };
  }

  // --- the whole ----------------------------------------------------------------------------------------------------

  usage(): EngineUsage {
    let blocks = 0;
    for (const layer of this.#core.pages.layers()) blocks += layer.data;
    return { ...this.#core.log.usage(), live_bytes: this.#core.live.total(), data_bytes: blocks * BLOCK_BYTES };
  }

  writeState(): WriteState {
    return writeStateOf(this.#core.log.state());
  }

  verifyStored(from: VerifyPosition | undefined, most_bytes: number): Promise<VerifyStep> {
    return verifyStored(this.#core, from, most_bytes);
  }

  on(listener: (event: EngineEvent) => void): () => void {
    return this.#core.on(listener);
  }

  async close(): Promise<void> {
    if (this.#core.closed) return;
    await this.#housekeeper.stop();
    this.#core.closed = true;
    await this.#core.log.close();
    await this.#core.store.close();
  }

  /** A checkpoint now, and everything that housekeeping finds to do: for tests, and before a planned stop. */
  async settle(): Promise<void> {
    await this.#housekeeper.settle();
  }

  /** What the engine counts and the index does not bear out; nothing, if all is well. For tests. */
  accountErrors(): readonly string[] {
    return accountErrors(this.#core);
  }

  /** The segments of the log. For tests. */
  segments(): readonly SegmentInfo[] {
    return this.#core.log.segments();
  }

  #order(change: Change | undefined): void {
    if (change === undefined) return;
    this.#core.order(change);
    passFaultPoint(`engine.${change.op}.ordered`);
  }

  /** `tell`: what others are to hear of a change once it is durable, though the caller could not wait for that. */
  async #do(change: Change | undefined, tell: () => unknown = () => undefined): Promise<void> {
    this.#order(change);
    try {
      // Also when there is nothing to do: the first call may have died before its record was durable.
      await this.#core.log.durable();
    } catch (error) {
      if (change !== undefined) this.#untold.push(tell);
      throw error;
    }
    if (change === undefined) return;
    passFaultPoint(`engine.${change.op}.durable`);
    tell();
  }

  #committed(session: SessionId, { cycle, points }: CyclePlan): void {
    this.#core.emit({ kind: 'committed', session, cycle, points: points.map(({ id }) => id) });
  }

  #point(id: PointId): PointInfo {
    return pointInfo(this.#core.graph, plan.needPoint(this.#core.graph, id));
  }

  #image(point: PointId, volume: VolumeId): Chain {
    return this.#core.chains.of(plan.needMember(this.#core.graph, point, volume).layer);
  }

  #storedBytes(volume: VolumeId): number {
    const chain = this.#core.chains.of(plan.needVolume(this.#core.graph, volume).top);
    return chain.links.reduce((sum, link) => sum + link.index.data, 0) * BLOCK_BYTES;
  }

  /** A point as a base: with the digests of the pairs that are in it. */
  async #baseAt(of: readonly Pair[], point: PointId): Promise<Base> {
    const pairs = of.filter(({ local }) => memberOf(plan.needPoint(this.#core.graph, point), local) !== undefined);
    return { point, pairs, digests: await Promise.all(pairs.map(({ local }) => this.digest(local, point))) };
  }

  /** Another image, perhaps of another size, and another right to write. */
  #testChanged(session: SessionId): void {
    const { pairs } = plan.needHalf(this.#core.graph, session);
    for (const pair of pairs) this.#core.emit({ kind: 'volume_changed', volume: pair.local });
    this.#accessChanged(pairs);
  }

  #accessChanged(pairs: readonly Pair[]): void {
    for (const pair of pairs) this.#core.emit({ kind: 'access_changed', volume: pair.local });
  }
}
