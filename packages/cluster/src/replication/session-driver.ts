import { type Clock, err, ok, passFaultPoint, type Random, type Result, type Timer } from '@antipode/base';
import type { Admission } from '@antipode/replication';
import {
  awaitsOperation,
  awaitsPeer,
  type Command,
  type Context,
  decide,
  type Half,
  type Input,
  isAtRest,
  isDecidingDirection,
  isInitialSync,
  isToldAll,
  type Notice,
  newestCommon,
  nextStart_ms,
  type Outcome,
  type PeerMessage,
  type PeerReply,
  type Rejection,
  replyTo,
  type Step,
  type Suspension,
  settled,
  stepKey,
  turnedView,
} from '@antipode/replication';
import { agreeOnBase, viewOf, withSnapshots } from './half-view.ts';
import { driverLimits } from './limits.ts';
import type { LinkGate, Slot } from './link-gate.ts';
import { runStep, type StepWorld } from './step-runner.ts';

export interface DriverDeps {
  /** Dates and schedules. */
  readonly clock: Clock;
  /** What the world outside takes: bounds and pauses between attempts. */
  readonly waits: Clock;
  readonly random: Random;
  /** Serial of this cluster. */
  readonly site: string;
  readonly world: StepWorld;
  readonly linkUp: () => boolean;
  readonly localPauseResume: Context['localPauseResume'];
  /** How many cycles may run on the link to the peer at once. */
  readonly gate: LinkGate;
  /** Durable when it returns [C7.3]; throws, and nothing has changed, where that cannot be. */
  readonly persist: (half: Half) => void;
  /** Does what nobody waits for: now, or once what it makes durable can be stored. */
  readonly eventually: (work: () => void) => void;
  readonly notify: (notice: Notice, half: Half) => void;
  /** The half is gone: nothing of it is left here. */
  readonly removed: (half: Half) => void;
}

type Waiter = { readonly check: (half: Half) => boolean; readonly wake: () => void };

/**
 * Drives one half: feeds inputs to the pure machine, keeps what it says, and has at most one step of it running in the world.
 * "Mutate, then evaluate": every input goes through {@link submit}, and what should be running is derived anew each time.
 * Decisions and their durable record are one synchronous turn, so inputs never interleave.
 */
export class SessionDriver {
  readonly #deps: DriverDeps;
  #half: Half;
  #running: { readonly key: string; readonly step: Step; cancelling: boolean } | undefined;
  #desired: Step | undefined;
  #lastKey: string | undefined;
  #repeats = 0;
  #backOff: Timer | undefined;
  #alarm: Timer | undefined;
  #admission: string | undefined;
  #slot: Slot | undefined;
  /** Moment of the newest decision. */
  #looked_ms = 0;
  #gone = false;
  #stopped = false;
  readonly #waiters = new Set<Waiter>();

  constructor(half: Half, deps: DriverDeps) {
    this.#half = half;
    this.#deps = deps;
  }

  get half(): Half {
    return this.#half;
  }

  /** Looks at the half as it was loaded and sets what it wants in motion. */
  start(): void {
    void this.#admit();
    this.hear({ kind: 'tick' });
  }

  /** No new steps; what runs is left to end. */
  stop(): void {
    this.#stopped = true;
    this.#backOff?.cancel();
    this.#alarm?.cancel();
    this.#slot?.drop();
    this.#wakeWaiters();
  }

  /** One input that nobody waits for, and that is never refused: time, the link, what a step has come to. */
  hear(input: Exclude<Input, { kind: 'command' | 'message' }>): void {
    this.#deps.eventually(() => void this.submit(input));
  }

  /** One input: decided, durable and set in motion when this returns. */
  submit(input: Input): Result<void, Rejection> {
    if (this.#gone) return ok(undefined);
    const decision = decide(this.#half, input, this.#context());
    if (!decision.ok) return decision;
    const { half, step, wantsSlot, notices } = decision.value;
    if (half !== this.#half) {
      this.#deps.persist(half);
      passFaultPoint('session.decision.durable');
      this.#half = half;
      void this.#admit();
    }
    for (const notice of notices) this.#deps.notify(notice, half);
    this.#desired = step;
    this.#pump();
    const granted = this.#holdSlot(wantsSlot);
    this.#setAlarm();
    this.#wakeWaiters();
    // What waited for the place alone can go on.
    if (granted) this.hear({ kind: 'tick' });
    return ok(undefined);
  }

  /** An operator's command; resolves when the verb may be answered (REPLICATION A27). */
  async command(command: Command): Promise<Result<void, Rejection>> {
    const accepted = this.submit({ kind: 'command', command });
    if (!accepted.ok) return accepted;
    const ended = (half: Half) => this.#gone || settled(command, half) !== undefined;
    const waits = (half: Half) => !ended(half) && awaitsPeer(command, half);
    const failed = (code: string, message: string) =>
      err({ kind: 'operation_failed' as const, command: command.name, code, message });
    while (!this.#stopped && !ended(this.#half)) {
      const done = await this.#until((half) => ended(half) || waits(half), driverLimits.verb_ms);
      if (!done) return failed('internal', 'the operation is still running; look at the session for its end');
      if (waits(this.#half) && !(await this.#until((half) => !waits(half), driverLimits.peerDecides_ms)))
        return failed('in_doubt', inDoubt(this.#half));
    }
    return command.name === 'delete'
      ? ok(undefined)
      : (settled(command, this.#half) ?? failed('internal', 'this process ends'));
  }

  /**
   * The system pauses the session. Resolves true when nothing of it is under way any more, false when that took too long: it is paused
   * all the same as soon as what is under way has ended.
   */
  suspend(suspension: Suspension): Promise<boolean> {
    this.submit({ kind: 'suspend', suspension });
    return this.#until(
      (half) => this.#gone || (isAtRest(half) && this.#running?.step.kind !== 'ship'),
      driverLimits.suspend_ms,
    );
  }

  /** What {@link suspend} was for is over: the session is what it was before. */
  lift(by: string): void {
    this.hear({ kind: 'lift', by });
  }

  /** Resolves true when the peer has heard of the state, false after `most_ms`. */
  peerKnows(most_ms: number): Promise<boolean> {
    return this.#until((half) => this.#gone || isToldAll(half), most_ms);
  }

  /** A verb of the peer. Rejects only when the local engine does. */
  async message(message: PeerMessage): Promise<PeerReply> {
    const mine = await viewOf(this.#half, this.#deps.world.dataPlane);
    const common = newestCommon(mine.points, message.view.points);
    // A destination's words may be older than its last commit, which is no news that numbers them: a source moves its base only by the answer
    // to a question of its own, and it asks before it ships.
    if (this.#half.role === 'destination')
      await agreeOnBase(this.#half, mine, message.view, common, this.#deps.world.dataPlane);
    this.submit({ kind: 'message', message, ...(common && { common }) });
    await this.#until((half) => this.#gone || !awaitsOperation(half, message), driverLimits.peerVerb_ms);
    if (this.#gone) return { kind: 'view', view: turnedView({ ...mine, state: 'Deleting' }) };
    passFaultPoint(`peer.${message.kind}.decided`);
    const view = await viewOf(this.#half, this.#deps.world.dataPlane);
    const whole = await withSnapshots(view, this.#half, common, this.#deps.world.dataPlane);
    return replyTo(message, this.#half, turnedView(whole));
  }

  /** Resolves when it is known which side is the source; after a while in any case, when a failover is in doubt. */
  async directionDecided(): Promise<void> {
    await this.#until((half) => this.#gone || !isDecidingDirection(half), driverLimits.decision_ms);
  }

  /** The rule's objective was changed: the schedule follows at once. */
  changeObjective(rpo_ms: number): void {
    this.#deps.eventually(() => {
      if (this.#gone || this.#half.rpo_ms === rpo_ms) return;
      const half = { ...this.#half, rpo_ms };
      this.#deps.persist(half);
      this.#half = half;
      this.submit({ kind: 'tick' });
    });
  }

  /** The data plane came back: it has forgotten what it was told, and a ship order has ended. */
  dataPlaneUp(): void {
    this.#admission = undefined;
    void this.#admit();
    this.hear({ kind: 'tick' });
  }

  #context(): Context {
    const { clock, random, site, localPauseResume } = this.#deps;
    const fresh = { a: random.uuid(), b: random.uuid(), c: random.uuid(), nonce: random.uuid() };
    const slot = this.#slot?.held ?? false;
    this.#looked_ms = clock.now();
    return { now_ms: this.#looked_ms, linkUp: this.#deps.linkUp(), slot, site, fresh, localPauseResume };
  }

  /** Has a place on the link while one is wanted; true when it was given just now. */
  #holdSlot(wanted: boolean): boolean {
    if (!wanted || this.#stopped) {
      this.#slot?.drop();
      this.#slot = undefined;
      return false;
    }
    if (this.#slot !== undefined) return false;
    const first = isInitialSync(this.#half);
    const claim = { session: this.#half.id, first, since_ms: this.#deps.clock.now() };
    this.#slot = this.#deps.gate.claim(claim, () => this.hear({ kind: 'tick' }));
    return this.#slot.held;
  }

  /** Has the desired step running and nothing else. Only shipping can be cut short; the rest is brief. */
  #pump(): void {
    const desired = this.#desired;
    const running = this.#running;
    if (running !== undefined) {
      if (
        running.step.kind !== 'ship' ||
        running.cancelling ||
        (desired !== undefined && stepKey(desired) === running.key)
      )
        return;
      running.cancelling = true;
      this.#deps.world.dataPlane.cancelShip(this.#half.id).catch(() => {
        // The data plane went away: its ship order ended with it, and the step's own outcome says so.
      });
      return;
    }
    if (desired === undefined || this.#stopped) return;
    const key = stepKey(desired);
    if (key !== this.#lastKey) {
      this.#repeats = 0;
      this.#backOff?.cancel();
      this.#backOff = undefined;
    }
    if (this.#backOff !== undefined) return;
    if (key === this.#lastKey && this.#repeats > 0) {
      // The same step again right after it ended: something refuses; ask again with growing pauses, never in a loop.
      const wait_ms = Math.min(driverLimits.repeatFirst_ms * 2 ** (this.#repeats - 1), driverLimits.repeatMost_ms);
      this.#backOff = this.#deps.waits.after(wait_ms, () => {
        this.#backOff = undefined;
        this.#run();
      });
      return;
    }
    this.#run();
  }

  #run(): void {
    const step = this.#desired;
    if (step === undefined || this.#running !== undefined || this.#stopped || this.#gone) return;
    const key = stepKey(step);
    const running = { key, step, cancelling: false };
    this.#running = running;
    void runStep(this.#half, step, this.#deps.world).then((outcome) =>
      this.#deps.eventually(() => {
        // Until what it came to is durable it counts as running: nothing is begun on the strength of what a death would forget.
        try {
          this.#running = undefined;
          this.#ended(key, outcome);
        } catch (error) {
          this.#running = running;
          throw error;
        }
      }),
    );
  }

  #ended(key: string, outcome: Outcome): void {
    if (outcome.kind === 'remove') return this.#finish();
    this.#repeats = this.#lastKey === key ? this.#repeats + 1 : 1;
    this.#lastKey = key;
    this.submit({ kind: 'outcome', outcome });
  }

  #finish(): void {
    this.#deps.removed(this.#half);
    this.#gone = true;
    this.#slot?.drop();
    this.#alarm?.cancel();
    this.#wakeWaiters();
  }

  /** Tells the data plane whether cycles for this half are taken now [C5.3]. */
  async #admit(): Promise<void> {
    const admission = admissionOf(this.#half, this.#deps.world.peer.dataEndpoint()?.fingerprint);
    const text = JSON.stringify(admission);
    if (this.#gone || this.#admission === text) return;
    this.#admission = text;
    try {
      await this.#deps.world.dataPlane.admit(this.#half.id, admission);
    } catch {
      // The data plane is away: it asks for nothing until it is back, and then it is told again.
      this.#admission = undefined;
    }
  }

  /** Wakes when something is due by the clock: the next cycle, or the next attempt. */
  #setAlarm(): void {
    this.#alarm?.cancel();
    this.#alarm = undefined;
    // In line for a place on the link: the place wakes it.
    if (this.#gone || this.#stopped || this.#slot?.held === false) return;
    const due =
      this.#half.state === 'System_Paused'
        ? this.#half.fault?.retryAt_ms
        : this.#half.state === 'OK'
          ? nextStart_ms(this.#half)
          : undefined;
    // What was due when it was looked at last waits for something else than time: the link, the peer, a place.
    if (due === undefined || due <= this.#looked_ms) return;
    const wait_ms = Math.min(
      Math.max(due - this.#deps.clock.now(), driverLimits.alarmLeast_ms),
      driverLimits.alarmMost_ms,
    );
    this.#alarm = this.#deps.clock.after(wait_ms, () => this.hear({ kind: 'tick' }));
  }

  #until(check: (half: Half) => boolean, most_ms: number): Promise<boolean> {
    if (check(this.#half)) return Promise.resolve(true);
    return new Promise((resolve) => {
      const end = (met: boolean) => {
        timer.cancel();
        this.#waiters.delete(waiter);
        resolve(met);
      };
      const timer = this.#deps.waits.after(most_ms, () => end(false));
      const waiter: Waiter = { check, wake: () => end(true) };
      this.#waiters.add(waiter);
    });
  }

  #wakeWaiters(): void {
    for (const waiter of [...this.#waiters]) if (this.#stopped || waiter.check(this.#half)) waiter.wake();
  }
}

/** Said to who waits for a peer that does not answer. */
const inDoubt = ({ state }: Half): string =>
  state === 'Failed_Over'
    ? 'the peer has taken over and has not turned the session round yet; reprotect it there'
    : 'the peer has not said whether it took over. Hosts are refused here until it does; where it can be reached without this side, an unplanned failover there decides';

/** What is under way lets cycles land: a failover test begins and ends beside them. */
const receives = (half: Half): boolean =>
  half.operation === undefined || half.operation.kind === 'start_test' || half.operation.kind === 'stop_test';

/** Whether this half takes a cycle now. */
function admissionOf(half: Half, peer: string | undefined): Admission {
  if (half.state === 'Paused' || half.state === 'Pausing') return { admit: false, code: 'peer_paused' };
  if (half.suspended !== undefined) return { admit: false, code: 'peer_suspended' };
  const receiving =
    half.state === 'Initializing' ||
    half.state === 'OK' ||
    half.state === 'Synchronizing' ||
    half.state === 'System_Paused' ||
    half.state === 'Failing_Over';
  if (half.role !== 'destination' || !receiving || !receives(half)) return { admit: false, code: 'peer_not_ready' };
  // Only the cluster that the session is with: being paired is not enough.
  return { admit: true, ...(peer !== undefined && { peer }) };
}
