import { type PointId, proposalId, sessionId, type TestId, volumeId } from '@antipode/base';
import type { Generation, HalfInfo, Pair } from '@antipode/blocks';
import { newestCommon } from '../peer/common-base.ts';
import type { HalfView, HeldPoint, PeerMessage, PeerReply } from '../peer/messages.ts';
import type { Command } from './accept-command.ts';
import { newHalf, recoverHalf } from './birth.ts';
import type { Context } from './change.ts';
import { decide, type Input } from './decide.ts';
import type { Half } from './half.ts';
import type { Notice } from './notice.ts';
import { awaitsOperation, replyTo } from './on-message.ts';
import type { Rejection } from './rejection.ts';
import { type Outcome, type Step, stepKey } from './steps.ts';
import { announcedReasons } from './suspend.ts';

/** An engine reduced to what the state machine can tell apart: contents are numbers, a digest is its content. */
interface ModelEngine {
  role: 'source' | 'destination';
  generation: Generation;
  base: { point: PointId; content: number } | undefined;
  seal: { proposal: string; point: PointId } | undefined;
  refused: string[];
  points: Map<PointId, { content: number; instant_ms: number }>;
  head: number;
  stage: { cycle: string; point: PointId; content: number; instant_ms: number } | undefined;
  removed: boolean;
  diverged: number[];
  /** A failover test: what its head holds; `head` goes on being the copy. */
  test: { id: TestId; point: PointId; head: number } | undefined;
}

interface Site {
  readonly name: 'A' | 'B';
  half: Half;
  engine: ModelEngine;
  desired: Step | undefined;
  wantsSlot: boolean;
  /** A step that has had its effect and whose outcome has not been heard yet. */
  pending: { key: string; outcome: Outcome } | undefined;
  gone: boolean;
  /** All that was ever sent to the peer. */
  readonly sent: PeerMessage[];
}

/**
 * Two halves, a link that can be cut and loses answers, crashes at any moment: the state machine under test is the real one,
 * engines and network are reduced to what it can see. Used by the property tests; everything follows from the choices it is given.
 */
export class TwoHalves {
  now_ms = 1_000_000;
  linkUp = true;
  /** Nothing passes, and neither side has noticed that yet. */
  silent = false;
  /** Places on the link are given at once. */
  slot = true;
  /** Bytes a final cycle would ship; set by tests that want catch-up rounds. */
  leftToShip = 0;
  /** Points that hold a block that cannot be read any more. */
  readonly damaged = new Set<string>();
  shippedExtents = 0;
  /** Everything that operators would have been told. */
  readonly heard: Notice[] = [];
  readonly a: Site;
  readonly b: Site;
  #counter = 0;
  #written = 0;

  constructor() {
    const pair: Pair = { local: volumeId('va'), remote: volumeId('vb') };
    const back: Pair = { local: volumeId('vb'), remote: volumeId('va') };
    const generation: Generation = { number: 1, site: 'A', nonce: 'n1' };
    const engine = (role: 'source' | 'destination'): ModelEngine => ({
      role,
      generation,
      base: undefined,
      seal: undefined,
      refused: [],
      points: new Map(),
      head: 0,
      stage: undefined,
      removed: false,
      diverged: [],
      test: undefined,
    });
    const id = sessionId('s');
    this.a = this.#site('A', newHalf({ id, role: 'source', generation, pairs: [pair], rpo_ms: 0 }), engine('source'));
    this.b = this.#site(
      'B',
      newHalf({ id, role: 'destination', generation, pairs: [back], rpo_ms: 0 }),
      engine('destination'),
    );
    this.input(this.a, { kind: 'tick' });
    this.input(this.b, { kind: 'tick' });
  }

  #site(name: 'A' | 'B', half: Half, engine: ModelEngine): Site {
    return { name, half, engine, desired: undefined, wantsSlot: false, pending: undefined, gone: false, sent: [] };
  }

  other(site: Site): Site {
    return site === this.a ? this.b : this.a;
  }

  /** A host's write: acknowledged (true) only where the engine lets it. */
  write(site: Site): boolean {
    const { engine } = site;
    if (engine.role !== 'source' || engine.seal !== undefined || engine.removed) return false;
    this.#written += 1;
    engine.head = this.#written;
    return true;
  }

  /** A write of a host to the copy under test. */
  testWrite(site: Site): boolean {
    if (site.engine.test === undefined) return false;
    this.#written += 1;
    site.engine.test.head = this.#written;
    return true;
  }

  command(site: Site, command: Command): Rejection | undefined {
    return this.input(site, { kind: 'command', command });
  }

  input(site: Site, input: Input): Rejection | undefined {
    if (site.gone) return undefined;
    const decision = decide(site.half, input, this.#context(site));
    if (!decision.ok) return decision.error;
    this.heard.push(...decision.value.notices);
    site.half = decision.value.half;
    site.desired = decision.value.step;
    site.wantsSlot = decision.value.wantsSlot;
    return undefined;
  }

  setLink(up: boolean): void {
    if (this.linkUp === up) return;
    this.linkUp = up;
    for (const site of [this.a, this.b]) this.input(site, { kind: 'link', up });
  }

  /** Loses everything in memory; the catalog and the engine stay; the production start-up rule puts them together [C7.2]. */
  crash(site: Site): void {
    if (site.gone) return;
    site.pending = undefined;
    site.half = recoverHalf(site.half, this.#info(site));
    this.input(site, { kind: 'tick' });
  }

  /** Carries out one step's effect; `loseAnswer`: the peer acts, and its answer never arrives. */
  act(site: Site, loseAnswer = false): boolean {
    const step = site.desired;
    if (site.gone || site.pending !== undefined || step === undefined) return false;
    site.pending = { key: stepKey(step), outcome: this.#perform(site, step, loseAnswer) };
    return true;
  }

  /** Lets the outcome of the step under way be heard. */
  hear(site: Site): boolean {
    const pending = site.pending;
    if (pending === undefined) return false;
    site.pending = undefined;
    if (pending.outcome.kind === 'remove') {
      site.gone = true;
      return true;
    }
    this.input(site, { kind: 'outcome', outcome: pending.outcome });
    return true;
  }

  /** Runs both sides until nothing is left to do, or `rounds` have passed. */
  settle(rounds = 200): void {
    for (let round = 0; round < rounds; round++) {
      this.now_ms += 1_000;
      let moved = false;
      for (const site of [this.a, this.b]) {
        if (this.hear(site)) moved = true;
        if (this.act(site)) moved = true;
      }
      if (!moved) {
        this.now_ms += 120_000;
        for (const site of [this.a, this.b]) this.input(site, { kind: 'tick' });
        if (this.a.desired === undefined && this.b.desired === undefined) return;
      }
    }
  }

  #context(site: Site): Context {
    const next = () => `${site.name}${++this.#counter}`;
    return {
      now_ms: this.now_ms,
      linkUp: this.linkUp,
      slot: this.slot,
      site: site.name,
      fresh: { a: next(), b: next(), c: next(), nonce: next() },
      localPauseResume: 'pause_both',
    };
  }

  #info(site: Site): HalfInfo {
    const { engine, half } = site;
    return {
      session: half.id,
      role: engine.role,
      generation: engine.generation,
      pairs: half.pairs,
      joining: [],
      refused: engine.refused.map(proposalId),
      tag: {},
      ...(engine.base && { base: { point: engine.base.point, digests: [String(engine.base.content)] } }),
      ...(engine.seal && { seal: engine.seal as NonNullable<HalfInfo['seal']> }),
      ...(engine.test && { test: { id: engine.test.id, point: engine.test.point } }),
    };
  }

  /** What a site says of itself. */
  view(site: Site): HalfView {
    const { half, engine } = site;
    const points: HeldPoint[] = [...engine.points].map(([point, held]) => ({
      point,
      digests: [String(held.content)],
      instant_ms: held.instant_ms,
    }));
    return {
      generation: half.generation,
      role: half.role,
      state: half.state,
      revision: half.revision,
      ...(half.peer.revision !== undefined && { seen: half.peer.revision }),
      refused: engine.refused.map(proposalId),
      points,
      ...(half.paused && { paused: half.paused }),
      ...(half.test && { testing: true }),
      ...(half.suspended && { suspended: announcedReasons(half) }),
      ...(half.lastSync && { lastSync: half.lastSync }),
      ...(engine.base && { base: { point: engine.base.point, digests: [String(engine.base.content)] } }),
    };
  }

  #perform(site: Site, step: Step, loseAnswer: boolean): Outcome {
    const { engine, half } = site;
    const peer = this.other(site);
    switch (step.kind) {
      case 'contact': {
        const said = this.view(site);
        const reply = this.#ask(site, { kind: 'contact', session: half.id, view: said }, loseAnswer);
        if (reply === undefined) return { kind: 'contact', result: { ok: false, reason: 'unreachable' } };
        if (reply.kind === 'tombstone')
          return { kind: 'contact', result: { ok: false, reason: 'tombstone', generation: reply.generation } };
        if (reply.kind === 'unknown_session')
          return { kind: 'contact', result: { ok: false, reason: 'unknown_session' } };
        const common = newestCommon(this.view(site).points, reply.view.points);
        return {
          kind: 'contact',
          result: { ok: true, view: reply.view, said: said.revision ?? 0, ...(common && { common }) },
        };
      }
      case 'members': {
        if (!this.linkUp || loseAnswer)
          return { kind: 'members', result: { ok: false, code: 'link_lost', message: 'unreachable' } };
        const fresh = step.newcomers.map((local): Pair => ({ local, remote: volumeId(`${local}-copy`) }));
        const kept = half.pairs.filter(({ local }) => !step.newcomers.includes(local));
        return { kind: 'members', result: { ok: true, pairs: [...kept, ...fresh] } };
      }
      case 'freeze':
        if (!engine.points.has(step.cycle.point))
          engine.points.set(step.cycle.point, { content: engine.head, instant_ms: this.now_ms });
        return { kind: 'freeze', instant_ms: this.now_ms };
      case 'ship':
        return { kind: 'ship', cycle: step.cycle.id, result: this.#ship(site, peer, step, loseAnswer) };
      case 'advance_base': {
        const point = engine.points.get(step.base.point);
        if (point === undefined) return { kind: 'failed', step: step.kind, message: 'no such point', fatal: true };
        if (engine.base !== undefined && engine.base.point !== step.base.point) engine.points.delete(engine.base.point);
        engine.base = { point: step.base.point, content: point.content };
        return { kind: 'advance_base' };
      }
      case 'reset_base': {
        const point = step.base && engine.points.get(step.base.point);
        engine.base = point && step.base ? { point: step.base.point, content: point.content } : undefined;
        return { kind: 'reset_base' };
      }
      case 'measure':
        return { kind: 'measure', bytes: this.leftToShip };
      case 'seal':
        if (engine.seal === undefined) {
          engine.seal = { proposal: step.proposal, point: step.point };
          engine.points.set(step.point, { content: engine.head, instant_ms: this.now_ms });
        }
        return { kind: 'seal', instant_ms: this.now_ms };
      case 'unseal':
        engine.seal = undefined;
        return { kind: 'unseal' };
      case 'send_promote': {
        const message: PeerMessage = {
          kind: 'promote',
          session: half.id,
          view: this.view(site),
          proposal: step.proposal,
          cycle: step.cycle,
          digests: step.digests,
        };
        const reply = this.#ask(site, message, loseAnswer);
        if (reply === undefined) return { kind: 'send_promote', result: { ok: false, reason: 'unreachable' } };
        if (reply.kind === 'view') return { kind: 'send_promote', result: { ok: true, view: reply.view } };
        if (reply.kind === 'busy')
          return { kind: 'send_promote', result: { ok: false, reason: 'busy', view: reply.view } };
        return { kind: 'send_promote', result: { ok: false, reason: 'refused', message: 'refused' } };
      }
      case 'start_test': {
        const from = step.from ?? engine.base?.point;
        const held = from && engine.points.get(from);
        if (from === undefined || held === undefined || engine.role !== 'destination')
          return { kind: 'failed', step: step.kind, message: 'no such point', fatal: true };
        engine.test ??= { id: step.test, point: from, head: held.content };
        return { kind: 'start_test' };
      }
      case 'stop_test':
        if (engine.test !== undefined && step.keep !== undefined)
          engine.points.set(step.keep, { content: engine.test.head, instant_ms: step.keep_ms });
        engine.test = undefined;
        return { kind: 'stop_test' };
      case 'promote': {
        if ((engine.test !== undefined) !== (step.testCopy === true) && engine.generation.nonce !== step.next.nonce)
          return { kind: 'promote', result: { ok: false, message: 'a failover test' } };
        const refused = step.proposal !== undefined && engine.refused.includes(step.proposal);
        if (engine.generation.number + 1 !== step.next.number || refused) {
          if (engine.generation.nonce === step.next.nonce) return { kind: 'promote', result: { ok: true } };
          return { kind: 'promote', result: { ok: false, message: 'stale' } };
        }
        if (step.commit !== undefined) {
          if (engine.stage?.cycle !== step.commit.cycle)
            return { kind: 'promote', result: { ok: false, message: 'no such stage' } };
          this.#commit(engine);
        }
        engine.stage = undefined;
        engine.generation = step.next;
        engine.role = 'source';
        if (engine.test !== undefined) engine.head = engine.test.head;
        engine.test = undefined;
        return { kind: 'promote', result: { ok: true } };
      }
      case 'refuse_proposal':
        engine.refused.push(step.proposal);
        return { kind: 'refuse_proposal' };
      case 'demote': {
        const base = step.base === undefined ? undefined : engine.points.get(step.base);
        const diverged = engine.head !== (base?.content ?? 0);
        if (diverged) engine.diverged.push(engine.head);
        engine.head = base?.content ?? 0;
        engine.base = base && step.base ? { point: step.base, content: base.content } : undefined;
        engine.seal = undefined;
        engine.role = 'destination';
        engine.generation = step.learned;
        return { kind: 'demote', diverged_bytes: diverged ? 1 : 0 };
      }
      case 'tell_pause':
      case 'tell_resume':
      case 'tell_activate':
      case 'tell_delete':
      case 'tell_reprotect': {
        const verb = step.kind.slice(5) as 'pause' | 'resume' | 'delete' | 'reprotect' | 'activate';
        const base = step.kind === 'tell_activate' && step.base ? { base: step.base } : {};
        const message = { kind: verb, session: half.id, view: this.view(site), ...base } as PeerMessage;
        const reply = this.#ask(site, message, loseAnswer);
        if (reply === undefined)
          return { kind: step.kind, result: { ok: false, reason: 'unreachable', message: 'unreachable' } };
        if (reply.kind === 'view') return { kind: step.kind, result: { ok: true, view: reply.view } };
        if (reply.kind === 'busy' || reply.kind === 'refused')
          return { kind: step.kind, result: { ok: false, reason: 'busy', message: reply.message, view: reply.view } };
        return { kind: step.kind, result: { ok: false, reason: 'unknown_session', message: 'unknown' } };
      }
      case 'remove':
        engine.removed = true;
        return { kind: 'remove' };
    }
  }

  #ship(
    site: Site,
    peer: Site,
    step: Extract<Step, { kind: 'ship' }>,
    loseAnswer: boolean,
  ): Extract<Outcome, { kind: 'ship' }>['result'] {
    const refuse = (
      code:
        | 'link_lost'
        | 'peer_paused'
        | 'peer_suspended'
        | 'stale_generation'
        | 'base_mismatch'
        | 'session_unknown'
        | 'peer_not_ready',
    ) => ({ ok: false, failure: { code, message: code, retry: code !== 'stale_generation' } }) as const;
    if (!this.linkUp) return refuse('link_lost');
    if (peer.gone) return refuse('session_unknown');
    if (peer.half.paused !== undefined || peer.half.state === 'Pausing') return refuse('peer_paused');
    if (peer.half.suspended !== undefined) return refuse('peer_suspended');
    const under = peer.half.operation?.kind;
    const busy = under !== undefined && under !== 'start_test' && under !== 'stop_test';
    if (busy || peer.half.state === 'Failed_Over') return refuse('peer_not_ready');
    const mine = site.engine;
    const theirs = peer.engine;
    if (theirs.role !== 'destination' || theirs.generation.nonce !== mine.generation.nonce)
      return refuse('stale_generation');
    const target = mine.points.get(step.cycle.point);
    if (target === undefined) return refuse('base_mismatch');
    if (this.damaged.has(step.cycle.point))
      return { ok: false, failure: { code: 'source_damaged', message: 'a block cannot be read', retry: false } };
    const digests = [String(target.content)];
    if (theirs.base?.point !== step.cycle.point) {
      if (theirs.base?.point !== step.cycle.base?.point) {
        // The real half agrees on the base at contact; here the destination simply takes the source's word if it holds the point.
        const held = step.cycle.base?.point === undefined ? undefined : theirs.points.get(step.cycle.base.point);
        if (step.cycle.base?.point !== undefined && held === undefined) return refuse('base_mismatch');
        theirs.base =
          held && step.cycle.base?.point ? { point: step.cycle.base.point, content: held.content } : undefined;
      }
      if (theirs.base?.content !== target.content) this.shippedExtents += 1;
      theirs.stage = {
        cycle: step.cycle.id,
        point: step.cycle.point,
        content: target.content,
        instant_ms: target.instant_ms,
      };
      if (step.end === 'commit') this.#commit(theirs);
    }
    return loseAnswer ? refuse('link_lost') : { ok: true, digests };
  }

  #commit(engine: ModelEngine): void {
    const stage = engine.stage;
    if (stage === undefined) return;
    if (engine.base !== undefined) engine.points.delete(engine.base.point);
    engine.points.set(stage.point, { content: stage.content, instant_ms: stage.instant_ms });
    engine.base = { point: stage.point, content: stage.content };
    engine.head = stage.content;
    engine.stage = undefined;
  }

  /** Delivers once more what `site` has sent before: the one that `pick` falls on. Nobody waits for the answer. */
  replay(site: Site, pick: number): void {
    const { sent } = site;
    const message = sent[pick % sent.length];
    if (message !== undefined && this.linkUp && !this.other(site).gone) this.#deliver(this.other(site), message);
  }

  #ask(from: Site, message: PeerMessage, loseAnswer: boolean): PeerReply | undefined {
    const to = this.other(from);
    if (!this.linkUp || this.silent) return undefined;
    from.sent.push(message);
    if (to.gone) return { kind: 'tombstone', generation: to.engine.generation };
    this.#deliver(to, message);
    if (loseAnswer) return undefined;
    if (to.gone) return { kind: 'tombstone', generation: to.engine.generation };
    return replyTo(message, to.half, this.view(to));
  }

  #deliver(to: Site, message: PeerMessage): void {
    const common = newestCommon(this.view(to).points, message.view.points);
    this.input(to, { kind: 'message', message, ...(common && { common }) });
    // What the verb set in motion runs before the answer, as the driver has it.
    for (let guard = 0; guard < 8 && !to.gone && awaitsOperation(to.half, message); guard++) {
      if (to.pending !== undefined) this.hear(to);
      else if (to.desired === undefined || !this.act(to)) break;
    }
  }
}
