import type { Clock, Timer } from '@antipode/base';
import type { HostPort } from '../config.ts';
import { driverLimits } from './limits.ts';
import type { PeerCaller } from './peer-network.ts';
import type { Hello } from './peer-wire.ts';

export interface LinkState {
  readonly up: boolean;
  /** The data connection's last test: `unknown` before the first. */
  readonly data: 'ok' | 'lost' | 'unknown';
  readonly peer?: Hello;
  /** Peer's wall clock minus ours, ms, from the last heartbeat. */
  readonly clockOffset_ms: number;
  readonly roundTrip_ms?: number;
}

export interface LinkMonitorDeps {
  readonly clock: Clock;
  readonly period_ms: number;
  readonly client: PeerCaller;
  readonly hello: () => Hello;
  /** Tries the data connection; rejects when it cannot be made. */
  readonly probe: (data: HostPort) => Promise<number>;
  readonly changed: (state: LinkState, before: LinkState) => void;
}

/** Asks the peer for a sign of life again and again, and says when the link is lost and when it is back. */
export class LinkMonitor {
  readonly #deps: LinkMonitorDeps;
  #state: LinkState = { up: false, data: 'unknown', clockOffset_ms: 0 };
  #missed = 0;
  #beats = 0;
  #timer: Timer | undefined;
  #beating: Promise<void> | undefined;
  #stopped = false;

  constructor(deps: LinkMonitorDeps) {
    this.#deps = deps;
  }

  get state(): LinkState {
    return this.#state;
  }

  start(): void {
    void this.beat();
  }

  /** One heartbeat now; a second call joins it. */
  beat(): Promise<void> {
    this.#beating ??= this.#beat().finally(() => {
      this.#beating = undefined;
      this.#timer?.cancel();
      if (!this.#stopped) this.#timer = this.#deps.clock.after(this.#deps.period_ms, () => void this.beat());
    });
    return this.#beating;
  }

  /** A call to the peer went unanswered: do not wait for the next beat to find out. */
  suspect(): void {
    if (this.#state.up && !this.#stopped) void this.beat();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #beat(): Promise<void> {
    const { clock, client } = this.#deps;
    try {
      const sent = clock.monotonic();
      const lost = !this.#state.up;
      const answer = await client.ask(
        { kind: 'hello', hello: this.#deps.hello(), ...(lost && { lost }) },
        driverLimits.heartbeatAnswer_ms,
      );
      if (answer.kind !== 'hello') throw new Error('not an answer to a heartbeat');
      const roundTrip_ms = clock.monotonic() - sent;
      this.#missed = 0;
      const wasUp = this.#state.up;
      const data =
        wasUp && this.#state.data === 'ok' && this.#beats++ % driverLimits.probeEvery !== 0
          ? this.#state.data
          : await this.#probe(answer.hello.data);
      const clockOffset_ms = answer.hello.now_ms + roundTrip_ms / 2 - clock.now();
      this.#become({ up: true, data, peer: answer.hello, clockOffset_ms, roundTrip_ms });
    } catch {
      this.#missed += 1;
      if (this.#missed >= driverLimits.heartbeatsMissed || !this.#state.up)
        this.#become({ ...this.#state, up: false, data: 'lost' });
    }
  }

  async #probe(data: HostPort): Promise<'ok' | 'lost'> {
    try {
      await this.#deps.probe(data);
      return 'ok';
    } catch {
      return 'lost';
    }
  }

  #become(next: LinkState): void {
    const before = this.#state;
    this.#state = next;
    if (!this.#stopped) this.#deps.changed(next, before);
  }
}
