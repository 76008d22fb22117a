import type { Clock } from '@antipode/base';
import type { CyclePlan } from '@antipode/blocks';
import type { PeerSocket } from './data-network.ts';
import type { Frame } from './frame-codec.ts';
import { FrameLink } from './frame-link.ts';
import { transferLimits } from './limits.ts';
import type { Link } from './link.ts';
import { LinkLost } from './link-lost.ts';
import { sendPlan } from './plan-messages.ts';
import { channelVersion, oldestChannelVersion } from './protocol.ts';

/** The other data planes of one cluster, reached within the machine. */
export interface Others {
  /** Connects to each of them, in some order. */
  readonly connect: readonly (() => Promise<PeerSocket>)[];
  /** Who gets what they pass on; nobody, once it is taken back. */
  take(listener: ((socket: PeerSocket) => void) | undefined): void;
}

/** Greets another data plane of the cluster. */
export async function greet(socket: PeerSocket, localSerial: string, clock: Clock): Promise<FrameLink> {
  const link = new FrameLink(socket, clock);
  const deadline = clock.after(transferLimits.connect_ms, () => link.close(new LinkLost('no greeting in time')));
  try {
    await link.send({ type: 'hello', oldest: oldestChannelVersion, newest: channelVersion, serial: localSerial });
    const { message } = await link.next();
    if (message.type !== 'hello') throw new LinkLost('the other data plane did not greet');
    return link;
  } catch (error) {
    link.close();
    throw error;
  } finally {
    deadline.cancel();
  }
}

/** A cycle's connection as another data plane of the cluster has taken it: the link to it, and its first answer. */
export interface TakenElsewhere {
  readonly link: FrameLink;
  readonly first: Frame;
}

/** Asks the other data planes of the cluster, one after the other, to take a cycle; nothing: none knows the session. */
export async function findElsewhere(
  others: Others,
  plan: CyclePlan,
  localSerial: string,
  clock: Clock,
): Promise<TakenElsewhere | undefined> {
  let lost: unknown;
  for (const connect of others.connect) {
    let link: FrameLink | undefined;
    try {
      link = await greet(await connect(), localSerial, clock);
      await sendPlan(link, plan);
      const first = await link.next();
      if (first.message.type !== 'refused' || first.message.code !== 'session_unknown') return { link, first };
      link.close();
    } catch (error) {
      link?.close();
      lost = error;
    }
  }
  // One that is being started again may be the one: the source tries once more.
  if (lost !== undefined) throw lost;
  return undefined;
}

/** Passes frames on, both ways, until either end is over; then the other one is as well. */
export async function relay(outer: Link, { link: inner, first }: TakenElsewhere): Promise<void> {
  const pump = async (from: Link, to: Link): Promise<void> => {
    for (;;) {
      const frame = await from.next();
      await to.send(frame.message, frame.payload, frame.release);
    }
  };
  try {
    await outer.send(first.message, first.payload, first.release);
    await Promise.race([pump(outer, inner), pump(inner, outer)]);
  } catch {
    // One of the two is over; what was passed on is with its receiver.
  } finally {
    await Promise.all([inner.end(), outer.end()]);
  }
}
