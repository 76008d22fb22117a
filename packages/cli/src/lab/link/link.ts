import type { Clock } from '@antipode/base';
import type { HostPort } from '@antipode/cluster';
import { Forwarder } from './forwarder.ts';
import { Lane, type LaneShape } from './lane.ts';

export interface LinkState {
  readonly state: 'up' | 'cut';
  /** Bits a second of each direction; null: unlimited. */
  readonly rate_bps: number | null;
  /** Delay of each direction. */
  readonly delay_ms: number;
  readonly connections: number;
  /** Bytes that passed since the lab started, both directions. */
  readonly passed_bytes: number;
}

export interface LinkChange {
  readonly cut?: boolean;
  readonly rate_bps?: number | null;
  readonly delay_ms?: number;
}

/** One route: what connects to `listen` at the side `to` came from the other side. */
export interface Route {
  readonly to: 'first' | 'second';
  readonly listen: HostPort;
  readonly target: HostPort;
}

/** The link between the two sites of a lab. Everything that the clusters say to each other passes here. */
export class Link {
  readonly #lanes: { readonly toFirst: Lane; readonly toSecond: Lane };
  readonly #forwarders: readonly Forwarder[];
  #cut = false;
  #shape: LaneShape = { rate_bps: null, delay_ms: 0 };

  constructor(routes: readonly Route[], clock: Clock) {
    this.#lanes = { toFirst: new Lane(clock), toSecond: new Lane(clock) };
    const { toFirst, toSecond } = this.#lanes;
    this.#forwarders = routes.map(
      ({ to, listen, target }) =>
        new Forwarder({
          listen,
          target,
          forth: to === 'first' ? toFirst : toSecond,
          back: to === 'first' ? toSecond : toFirst,
        }),
    );
  }

  /** Answers the addresses listened on, in the order of the routes. */
  async start(): Promise<HostPort[]> {
    return await Promise.all(this.#forwarders.map((forwarder) => forwarder.start()));
  }

  change(change: LinkChange): LinkState {
    if (change.cut !== undefined && change.cut !== this.#cut) {
      this.#cut = change.cut;
      for (const forwarder of this.#forwarders) change.cut ? forwarder.cut() : forwarder.heal();
      if (change.cut) for (const lane of Object.values(this.#lanes)) lane.clear();
    }
    if (change.rate_bps !== undefined || change.delay_ms !== undefined) {
      this.#shape = {
        rate_bps: change.rate_bps === undefined ? this.#shape.rate_bps : change.rate_bps,
        delay_ms: change.delay_ms ?? this.#shape.delay_ms,
      };
      for (const lane of Object.values(this.#lanes)) lane.shape(this.#shape);
    }
    return this.state();
  }

  state(): LinkState {
    return {
      state: this.#cut ? 'cut' : 'up',
      ...this.#shape,
      connections: this.#forwarders.reduce((sum, forwarder) => sum + forwarder.connections, 0),
      passed_bytes: this.#lanes.toFirst.passed_bytes + this.#lanes.toSecond.passed_bytes,
    };
  }

  async stop(): Promise<void> {
    await Promise.all(this.#forwarders.map((forwarder) => forwarder.stop()));
    for (const lane of Object.values(this.#lanes)) lane.clear();
  }
}
