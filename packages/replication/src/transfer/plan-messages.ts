import type { CyclePlan, CyclePoint, Digest } from '@antipode/blocks';
import type { Frame } from './frame-codec.ts';
import { transferLimits } from './limits.ts';
import type { Link } from './link.ts';
import type { ChannelMessage } from './protocol.ts';

/** Tells the other end the plan of a cycle: in one message, or its points in as many as it takes. */
export async function sendPlan(link: Link, plan: CyclePlan): Promise<void> {
  const parts = partsOf(plan.points);
  if (parts.length === 1) return link.send({ type: 'open', plan });
  await link.send({ type: 'open', plan: { ...plan, points: [] }, points: plan.points.length });
  for (const points of parts) await link.send({ type: 'points', points });
}

function partsOf(points: readonly CyclePoint[]): readonly (readonly CyclePoint[])[] {
  const parts: CyclePoint[][] = [];
  let room = 0;
  for (const point of points) {
    const characters = JSON.stringify(point).length;
    if (characters > room) {
      parts.push([]);
      room = transferLimits.planMessage_characters;
    }
    parts.at(-1)!.push(point);
    room -= characters;
  }
  return parts;
}

/**
 * The plan that a message opens, with the points that follow it. Undefined when they are others than it said, or more than a plan takes:
 * memory is set aside for what has arrived, never for what was announced.
 */
export async function receivePlan(link: Link, { message, wire_bytes }: Frame): Promise<CyclePlan | undefined> {
  if (message.type !== 'open') return undefined;
  if (message.points === undefined) return message.plan;
  const points: CyclePoint[] = [];
  for (let bytes = wire_bytes; points.length < message.points; ) {
    const next = await link.next();
    bytes += next.wire_bytes;
    if (next.message.type !== 'points' || bytes > transferLimits.planMost_bytes) return undefined;
    points.push(...next.message.points);
  }
  return points.length === message.points ? { ...message.plan, points } : undefined;
}

/** Tells the digests of all images of a cycle, in as many messages as it takes. */
export async function sendProof(link: Link, digests: readonly (readonly Digest[])[]): Promise<void> {
  const rows = Math.max(1, Math.floor(transferLimits.provedMessage_digests / Math.max(1, digests[0]?.length ?? 1)));
  for (let from = 0; from < digests.length; from += rows) {
    const more = from + rows < digests.length;
    await link.send({
      type: 'proved',
      digests: digests.slice(from, from + rows),
      ...(more && { more: true as const }),
    });
  }
}

/** The digests that `next` answers, message by message; undefined when they are not those of so many points. */
export async function receiveProof(
  points: number,
  next: () => Promise<Extract<ChannelMessage, { type: 'proved' }>>,
): Promise<readonly (readonly Digest[])[] | undefined> {
  const digests: (readonly Digest[])[] = [];
  for (;;) {
    const message = await next();
    digests.push(...message.digests);
    if (digests.length > points) return undefined;
    if (message.more === undefined) return digests.length === points ? digests : undefined;
  }
}
