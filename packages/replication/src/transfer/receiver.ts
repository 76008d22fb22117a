import { type Clock, passFaultPoint, type SessionId } from '@antipode/base';
import { type BlockEngine, type CyclePlan, type Digest, isBlockError, sameGeneration } from '@antipode/blocks';
import { FrameLink } from './frame-link.ts';
import { receiveImages } from './image-receiver.ts';
import { transferLimits } from './limits.ts';
import { type Link, type Links, type ListenAddress, type Listener, plainFingerprint } from './link.ts';
import { receivePlan, sendProof } from './plan-messages.ts';
import { type ChannelMessage, channelVersion, oldestChannelVersion, type RefusalCode } from './protocol.ts';
import { findElsewhere, type Others, relay } from './relay.ts';
import { runsOf } from './run-payload.ts';
import type { Admission } from './types.ts';

export interface ReceiverOptions {
  readonly engine: BlockEngine;
  readonly links: Links;
  readonly clock: Clock;
  readonly localSerial: string;
  /** Fingerprints of the peers whose connections are taken. */
  readonly peers: () => readonly string[];
  /** Whether a session takes a cycle now from the cluster with this fingerprint (plain, lower case); without one: another data plane has looked. */
  readonly admit: (session: SessionId, from: string | undefined) => Admission;
  /** The cluster's other data planes: a cycle of a session that is not here is passed on to the one that has it. */
  readonly others?: Others;
}

export interface Receiver {
  listen(address: ListenAddress): Promise<ListenAddress>;
  /** Ends all connections and resolves when none of them touches the engine any more; what is durable stays staged. */
  close(): Promise<void>;
}

/** Said to the source before the connection ends; nothing of the frame in question was taken. */
class Refusal extends Error {
  readonly code: RefusalCode;
  constructor(code: RefusalCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Takes cycles from the data planes of paired clusters into staging layers: one cycle a connection, one connection a session. */
export function createReceiver(options: ReceiverOptions): Receiver {
  const active = new Map<SessionId, Reception>();
  const serving = new Set<Promise<void>>();
  let listener: Listener | undefined;
  const trusted = (fingerprint: string) => options.peers().some((peer) => plainFingerprint(peer) === fingerprint);
  const take = (link: Link, connection: ConnectionOptions): void => {
    const served = serve(link, connection, active).finally(() => serving.delete(served));
    serving.add(served);
  };
  options.others?.take((socket) =>
    // Whom it comes from, the one that passes it on has looked at; and it is passed on once.
    take(new FrameLink(socket, options.clock), {
      ...options,
      others: undefined,
      within: true,
      admit: (session) => options.admit(session, undefined),
    }),
  );
  return {
    async listen(address) {
      listener = await options.links.listen(address, trusted, (link, from) =>
        take(link, { ...options, admit: (session) => options.admit(session, from) }),
      );
      return { host: listener.host, port: listener.port };
    },
    async close() {
      options.others?.take(undefined);
      await listener?.close();
      await Promise.all(serving);
    },
  };
}

/** Options of a connection whose other end is known. */
type ConnectionOptions = Omit<ReceiverOptions, 'admit' | 'others'> & {
  readonly admit: (session: SessionId) => Admission;
  readonly others?: Others | undefined;
  /** The other end is a data plane of this cluster. */
  readonly within?: true;
};

async function serve(link: Link, options: ConnectionOptions, active: Map<SessionId, Reception>): Promise<void> {
  const deadline = options.clock.after(transferLimits.connect_ms, () => link.close());
  let reception: Reception | undefined;
  try {
    const hello = await link.next();
    if (hello.message.type !== 'hello') throw new Refusal('bad_message', 'a connection begins with a greeting');
    if (hello.message.newest < oldestChannelVersion || hello.message.oldest > channelVersion) {
      throw new Refusal(
        'protocol_mismatch',
        `this cluster speaks versions ${oldestChannelVersion} to ${channelVersion} of the data channel`,
      );
    }
    await link.send({
      type: 'hello',
      oldest: oldestChannelVersion,
      newest: channelVersion,
      serial: options.localSerial,
    });
    deadline.cancel();
    const open = await link.next();
    if (open.message.type === 'image' && options.within) return await receiveImages(link, open.message, options.engine);
    const plan = await receivePlan(link, open);
    if (plan === undefined) throw new Refusal('bad_message', 'a cycle begins with its plan, and all of its points');
    const { session } = plan;
    if (options.others !== undefined && options.engine.half(session) === undefined && options.admit(session).admit) {
      const elsewhere = await findElsewhere(options.others, plan, options.localSerial, options.clock);
      if (elsewhere !== undefined) return await relay(link, elsewhere);
    }
    reception = new Reception(link, options, plan);
    // A newer connection takes over: the old one ends first, so that two never write into one stage.
    const before = active.get(reception.session);
    active.set(reception.session, reception);
    await before?.end();
    // A third one may have taken over meanwhile.
    if (!link.closed) await reception.run();
  } catch (error) {
    const refusal = toRefusal(error);
    try {
      await refuse(link, refusal, options.clock);
    } catch {
      // The link is gone: there is nobody to tell.
    }
  } finally {
    deadline.cancel();
    if (reception !== undefined && active.get(reception.session) === reception) active.delete(reception.session);
    reception?.finished();
    link.close();
  }
}

/** Says no, and reads on until the source has heard it: closing at once would throw the word away with what is still arriving. */
async function refuse(
  link: Link,
  refusal: { readonly code: RefusalCode; readonly message: string },
  clock: Clock,
): Promise<void> {
  if (link.closed) return;
  const deadline = clock.after(transferLimits.connect_ms, () => link.close());
  try {
    await link.send({ type: 'refused', code: refusal.code, message: refusal.message });
    for (;;) (await link.next()).release();
  } finally {
    deadline.cancel();
  }
}

/** One cycle on its way into its stage. */
class Reception {
  readonly session: SessionId;
  readonly #link: Link;
  readonly #options: ConnectionOptions;
  readonly #plan: CyclePlan;
  #failed: unknown;
  /** Digests at the target that were proven last, with nothing staged since. */
  #proven: readonly Digest[] | undefined;
  readonly #done: Promise<void>;
  finished: () => void = () => undefined;

  constructor(link: Link, options: ConnectionOptions, plan: CyclePlan) {
    this.#link = link;
    this.#options = options;
    this.#plan = plan;
    this.session = plan.session;
    this.#done = new Promise((resolve) => {
      this.finished = resolve;
    });
  }

  /** Ends the link and resolves when nothing of it touches the stage any more. */
  end(): Promise<void> {
    this.#link.close();
    return this.#done;
  }

  async run(): Promise<void> {
    const { engine } = this.#options;
    this.#admitted();
    const half = engine.half(this.session);
    if (half === undefined) throw new Refusal('session_unknown', 'the session is not known here');
    if (half.role !== 'destination' || !sameGeneration(half.generation, this.#plan.generation)) {
      throw new Refusal(
        'stale_generation',
        `the present generation here is ${half.generation.number}, role ${half.role}`,
      );
    }
    const target = this.#plan.points.at(-1)!;
    if (half.base?.point === target.id) {
      // Committed before, and the acknowledgement was lost, or the record's way to stable storage took longer than the link lasted: the source
      // gives up the base before this one [C3.4].
      await engine.durable();
      await this.#link.send({ type: 'committed', digests: half.base.digests });
      return this.#link.end();
    }
    if (half.base?.point !== this.#plan.base)
      throw new Refusal('base_mismatch', `the base here is ${half.base?.point ?? 'none'}`);
    const stage = await engine.openStage(this.#plan);
    await this.#link.send({ type: 'opened', address: stage.address });
    for (;;) {
      const { message, payload, release } = await this.#link.next();
      if (this.#failed !== undefined) throw this.#failed;
      this.#admitted();
      const committed = await this.#handle(message, payload);
      release();
      if (committed) return this.#link.end();
    }
  }

  #admitted(): void {
    const admission = this.#options.admit(this.session);
    if (!admission.admit)
      throw new Refusal(
        admission.code,
        admission.code === 'peer_paused' || admission.code === 'peer_suspended'
          ? 'the session is paused here'
          : 'the session takes no cycles now',
      );
  }

  /** True when the cycle is committed. */
  async #handle(message: ChannelMessage, payload: Uint8Array): Promise<boolean> {
    const { engine } = this.#options;
    const { cycle, generation } = this.#plan;
    switch (message.type) {
      case 'runs': {
        const runs = runsOf(message.runs, payload);
        if (runs === undefined) throw new Refusal('bad_message', 'payload and runs of a frame do not agree');
        this.#proven = undefined;
        if (message.repair) await engine.repairStage(this.session, cycle, message.point, message.pair, runs);
        else await engine.writeStage(this.session, cycle, message.point, message.pair, runs);
        passFaultPoint('receiver.runs.staged');
        return false;
      }
      case 'sync':
        // The address is ordered now, behind what it covers; later runs need not wait until it is durable.
        engine.syncStage(this.session, cycle, message.address).then(
          (address) => {
            passFaultPoint('receiver.address.durable');
            this.#link.post({ type: 'durable', address });
          },
          (error: unknown) => this.#fail(error),
        );
        return false;
      case 'prove':
        await this.#prove();
        return false;
      case 'pages': {
        const point = this.#plan.points[message.point];
        const pair = this.#plan.pairs[message.pair];
        if (point === undefined || pair === undefined) throw new Refusal('bad_message', 'the cycle has no such image');
        await this.#link.send({
          type: 'page_digests',
          digests: await engine.stagePageDigests(
            this.session,
            cycle,
            message.point,
            message.pair,
            message.page,
            message.count,
          ),
        });
        return false;
      }
      case 'commit':
        // What was not read back and found equal is never committed, whoever asks [C8.3].
        if (this.#proven === undefined || this.#proven.join() !== message.digests.join())
          throw new Refusal('bad_message', 'a commit carries the digests that were proven last');
        await engine.commitStage(this.session, cycle, generation, message.digests);
        passFaultPoint('receiver.cycle.committed');
        await this.#link.send({ type: 'committed', digests: message.digests });
        return true;
      default:
        throw new Refusal('bad_message', `a destination does not expect ${message.type}`);
    }
  }

  async #prove(): Promise<void> {
    const digests = await this.#verify();
    this.#proven = digests.at(-1);
    passFaultPoint('receiver.cycle.proved');
    await sendProof(this.#link, digests);
  }

  async #verify() {
    const { engine, clock } = this.#options;
    const { cycle } = this.#plan;
    let told = clock.monotonic();
    try {
      return await engine.verifyStage(this.session, cycle, (blocks, of) => {
        if (this.#link.closed || clock.monotonic() - told < transferLimits.progress_ms) return;
        told = clock.monotonic();
        this.#link.post({ type: 'proving', blocks, of });
      });
    } catch (error) {
      if (!isBlockError(error) || error.code !== 'corrupt') throw error;
      // What was staged cannot be read back: none of it is trusted, and the next attempt ships it anew.
      await engine.abandonStage(this.session, cycle);
      throw new Refusal('staged_damage', error.message);
    }
  }

  #fail(error: unknown): void {
    this.#failed = error;
    const refusal = toRefusal(error);
    this.#link.post({ type: 'refused', code: refusal.code, message: refusal.message });
  }
}

function toRefusal(error: unknown): { readonly code: RefusalCode; readonly message: string } {
  if (error instanceof Refusal) return { code: error.code, message: error.message };
  if (isBlockError(error)) {
    switch (error.code) {
      case 'no_space':
        return { code: 'no_space', message: error.message };
      case 'stale':
      case 'exists':
        return { code: 'base_mismatch', message: error.message };
      case 'not_found':
        return { code: 'session_unknown', message: error.message };
      case 'out_of_range':
      case 'corrupt':
        return { code: 'bad_message', message: error.message };
      default:
        return { code: 'io_error', message: error.message };
    }
  }
  return { code: 'io_error', message: 'the destination could not take the cycle' };
}
