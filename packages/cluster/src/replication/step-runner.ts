import { type PointId, passFaultPoint, pointId, type VolumeId } from '@antipode/base';
import { type BlockErrorCode, isBlockError, type PointInfo, type PointSpec } from '@antipode/blocks';
import {
  type BaseRef,
  type Half,
  newestCommon,
  type Outcome,
  type PeerEndpoint,
  type PeerMessage,
  type PeerReply,
  type Step,
  type Told,
  turnedBase,
  turnedView,
} from '@antipode/replication';
import { timestamp } from '../catalog/documents.ts';
import type { DataPlane } from '../local/api.ts';
import { fixCycle, holder, planOf } from './cycle-plan.ts';
import { agreeOnBase, viewOf } from './half-view.ts';
import { driverLimits } from './limits.ts';

/** The way to the peer's management: rejects with PeerUnreachable when there is no answer in time. */
export interface PeerChannel {
  send(message: PeerMessage): Promise<PeerReply>;
  /** Where the peer's data plane takes connections; undefined while it is not known. */
  dataEndpoint(): PeerEndpoint | undefined;
}

export class PeerUnreachable extends Error {
  override name = 'PeerUnreachable';
}

export type Recruited = Extract<Outcome, { kind: 'members' }>['result'];

/** Tells the snapshot of an ended failover test in the log. */
export const testPurpose = 'failover_test';

export interface StepWorld {
  readonly dataPlane: DataPlane;
  readonly peer: PeerChannel;
  readonly now_ms: () => number;
  /** Has the peer set volumes aside for members that have none yet, and makes them members of the engine's half. */
  readonly recruit: (half: Half, newcomers: readonly VolumeId[]) => Promise<Recruited>;
  /** Payload bytes that a ship order has put on the link. */
  readonly shipped: (bytes: number) => void;
}

/** Engine errors that trying again does not change. */
const lasting: readonly BlockErrorCode[] = ['stale', 'not_found', 'exists', 'out_of_range', 'in_use', 'corrupt'];

/** Does one step in the world. Never rejects: what went wrong is an outcome. */
export async function runStep(half: Half, step: Step, world: StepWorld): Promise<Outcome> {
  try {
    passFaultPoint(`session.${step.kind}.begun`);
    const outcome = await perform(half, step, world);
    passFaultPoint(`session.${step.kind}.done`);
    return outcome;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { kind: 'failed', step: step.kind, message, fatal: isBlockError(error) && lasting.includes(error.code) };
  }
}

async function perform(half: Half, step: Step, world: StepWorld): Promise<Outcome> {
  const { dataPlane } = world;
  const session = half.id;
  switch (step.kind) {
    case 'contact':
      return { kind: 'contact', result: await contact(half, world) };
    case 'members':
      return { kind: 'members', result: await world.recruit(half, step.newcomers) };
    case 'freeze':
      return { kind: 'freeze', ...(await fixCycle(half, await freeze(half, step.cycle.point, world), dataPlane)) };
    case 'ship':
      return ship(half, step, world);
    case 'advance_base':
      await dataPlane.advanceBase(session, half.generation, step.base);
      return { kind: 'advance_base' };
    case 'reset_base':
      await dataPlane.resetBase(session, half.generation, step.base);
      return { kind: 'reset_base' };
    case 'measure':
      return { kind: 'measure', bytes: await accumulatedBytes(half, dataPlane) };
    case 'seal': {
      const point = await dataPlane.seal(session, step.proposal, internalPoint(half, step.point, world.now_ms()));
      return { kind: 'seal', ...(await fixCycle(half, point, dataPlane)) };
    }
    case 'unseal':
      await dataPlane.unseal(session, step.proposal);
      return { kind: 'unseal' };
    case 'send_promote':
      return { kind: 'send_promote', result: await sendPromote(half, step, world) };
    case 'promote': {
      const { kind: _, ...promotion } = step;
      await dataPlane.promote(session, promotion);
      return { kind: 'promote', result: { ok: true } };
    }
    case 'start_test':
      await dataPlane.startTest(session, step.test, step.from);
      return { kind: 'start_test' };
    case 'stop_test':
      await dataPlane.stopTest(session, step.test, step.keep && keptTest(half, step.keep, step.keep_ms));
      return { kind: 'stop_test' };
    case 'refuse_proposal':
      await dataPlane.refuseProposal(session, step.proposal);
      return { kind: 'refuse_proposal' };
    case 'demote': {
      const preserve: PointSpec = {
        id: step.preserve,
        kind: 'diverged',
        instant_ms: step.preserve_ms,
        tag: keptTag(half, `diverged_${new Date(step.preserve_ms).toISOString()}`, step.preserve_ms),
      };
      const { diverged_bytes } = await dataPlane.demote(session, step.learned, step.base, preserve);
      return { kind: 'demote', diverged_bytes };
    }
    case 'tell_pause':
      return { kind: 'tell_pause', result: await tell(half, 'pause', world) };
    case 'tell_resume':
      return { kind: 'tell_resume', result: await tell(half, 'resume', world) };
    case 'tell_delete':
      return { kind: 'tell_delete', result: await tell(half, 'delete', world) };
    case 'tell_reprotect':
      return { kind: 'tell_reprotect', result: await tell(half, 'reprotect', world) };
    case 'tell_activate':
      return { kind: 'tell_activate', result: await tell(half, 'activate', world, step.base) };
    case 'remove':
      await dataPlane.removeHalf(session);
      return { kind: 'remove' };
  }
}

/** Freezes all members. What a crash left frozen is the target, whoever has become a member since [C3.1]. */
async function freeze(half: Half, id: PointId, world: StepWorld): Promise<PointInfo> {
  const { dataPlane } = world;
  const known = await dataPlane.point(id);
  if (known === undefined) {
    const locals = half.pairs.map((pair) => pair.local);
    return dataPlane.freeze(internalPoint(half, id, world.now_ms()), locals, holder(half));
  }
  // Resolves when everything before it is on stable storage, the freeze too [C3.2].
  await dataPlane.hold(id, holder(half));
  return known;
}

const internalPoint = (half: Half, id: PointId, instant_ms: number): PointSpec => ({
  id: pointId(id),
  kind: 'internal',
  instant_ms,
  tag: { session: half.id },
});

/** What a failover test has written, as a snapshot that operators can see. */
const keptTest = (half: Half, id: PointId, instant_ms: number): PointSpec => ({
  id,
  kind: 'snapshot',
  instant_ms,
  tag: {
    ...keptTag(half, `failover_test_STOPPED_${new Date(instant_ms).toISOString()}`, instant_ms),
    purpose: testPurpose,
    description: 'written during a failover test',
  },
});

/** How a snapshot that a session leaves is called, and when it expires [C2.4]. */
const keptTag = (half: Half, name: string, now_ms: number) => ({
  session: half.id,
  name,
  creator: 'System',
  expires: timestamp(now_ms + driverLimits.kept_ms),
});

/** Bytes that hosts have changed at the source since the common base: what a pause lets accumulate. */
export async function accumulatedBytes(half: Half, dataPlane: DataPlane): Promise<number> {
  const base = (await dataPlane.half(half.id))?.base?.point;
  let bytes = 0;
  const inBase = new Set((base && (await dataPlane.point(base)))?.members.map((member) => member.volume));
  for (const { local } of half.pairs) {
    bytes += inBase.has(local)
      ? await dataPlane.bytesSince(local, base!)
      : (await dataPlane.volumeUsage(local)).logical_bytes;
  }
  return bytes;
}

async function contact(half: Half, world: StepWorld): Promise<Extract<Outcome, { kind: 'contact' }>['result']> {
  const facts = await viewOf(half, world.dataPlane);
  const reply = await ask(world, { kind: 'contact', session: half.id, view: turnedView(facts) });
  if (reply === undefined) return { ok: false, reason: 'unreachable' };
  if (reply.kind === 'tombstone') return { ok: false, reason: 'tombstone', generation: reply.generation };
  if (reply.kind === 'unknown_session') return { ok: false, reason: 'unknown_session' };
  const common: BaseRef | undefined = newestCommon(facts.points, reply.view.points);
  await agreeOnBase(half, facts, reply.view, common, world.dataPlane);
  return { ok: true, view: reply.view, said: half.revision, ...(common && { common }) };
}

async function ship(half: Half, step: Extract<Step, { kind: 'ship' }>, world: StepWorld): Promise<Outcome> {
  const { dataPlane } = world;
  const { cycle } = step;
  const ended = (result: Extract<Outcome, { kind: 'ship' }>['result']): Outcome => ({
    kind: 'ship',
    cycle: cycle.id,
    result,
  });
  const peer = world.peer.dataEndpoint();
  if (peer === undefined) {
    return ended({
      ok: false,
      failure: { code: 'link_lost', message: 'the address of the peer’s data connection is not known', retry: true },
    });
  }
  const plan = await planOf(half, cycle, dataPlane);
  if (plan === undefined) return { kind: 'target_gone', cycle: cycle.id };
  const outcome = await dataPlane.ship({ plan, peer, end: step.end });
  world.shipped(outcome.progress.shipped_bytes);
  return ended(
    outcome.kind === 'done' ? { ok: true, digests: outcome.digests } : { ok: false, failure: outcome.failure },
  );
}

async function sendPromote(
  half: Half,
  step: Extract<Step, { kind: 'send_promote' }>,
  world: StepWorld,
): Promise<Extract<Outcome, { kind: 'send_promote' }>['result']> {
  const view = await viewOf(half, world.dataPlane);
  const { proposal, cycle, digests } = step;
  const reply = await ask(world, {
    kind: 'promote',
    session: half.id,
    view: turnedView(view),
    proposal,
    cycle,
    digests,
  });
  if (reply === undefined) return { ok: false, reason: 'unreachable' };
  switch (reply.kind) {
    case 'view':
      return { ok: true, view: reply.view };
    case 'refused':
      return { ok: false, reason: 'refused', message: reply.message, view: reply.view };
    case 'busy':
      return { ok: false, reason: 'busy', view: reply.view };
    // The destination has forgotten the session: it cannot promote it any more.
    case 'tombstone':
    case 'unknown_session':
      return { ok: false, reason: 'refused', message: 'the session was deleted at the peer' };
  }
}

async function tell(
  half: Half,
  verb: 'pause' | 'resume' | 'delete' | 'reprotect' | 'activate',
  world: StepWorld,
  base?: BaseRef,
): Promise<Told> {
  const view = await viewOf(half, world.dataPlane);
  const common = { session: half.id, view: turnedView(view) };
  const message: PeerMessage =
    verb === 'activate'
      ? { kind: verb, ...common, ...(base && { base: turnedBase(base) }) }
      : { kind: verb, ...common };
  const reply = await ask(world, message);
  if (reply === undefined) return { ok: false, reason: 'unreachable', message: 'the peer cannot be reached' };
  if (reply.kind === 'view') return { ok: true, view: reply.view };
  if (reply.kind === 'busy' || reply.kind === 'refused')
    return { ok: false, reason: 'busy', message: reply.message, view: reply.view };
  return { ok: false, reason: 'unknown_session', message: 'the session is not known at the peer' };
}

/** The peer's answer, or undefined when there is none: every failure of the channel is the same to a session. */
async function ask(world: StepWorld, message: PeerMessage): Promise<PeerReply | undefined> {
  try {
    return await world.peer.send(message);
  } catch (error) {
    if (error instanceof PeerUnreachable) return undefined;
    throw error;
  }
}
