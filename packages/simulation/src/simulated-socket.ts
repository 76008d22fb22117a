import type { Life } from './life.ts';
import type { Path } from './path.ts';
import type { Scheduler } from './scheduler.ts';

type Listener = (argument?: never) => void;
type EventName = 'data' | 'error' | 'close' | 'connect';

/**
 * One end of a connection between two processes: bytes in order, after as long as the path takes, or never. Serves data connections and
 * the local protocol alike.
 */
export class SimulatedSocket {
  readonly #scheduler: Scheduler;
  readonly #life: Life;
  readonly #out: Path;
  readonly #listeners = new Map<EventName, Set<Listener>>();
  readonly #received: Buffer[] = [];
  #other!: SimulatedSocket;
  #paused = false;
  destroyed = false;

  private constructor(scheduler: Scheduler, life: Life, out: Path) {
    this.#scheduler = scheduler;
    this.#life = life;
    this.#out = out;
  }

  /** Two ends; `there` and `back` are the ways between them. */
  static pair(
    scheduler: Scheduler,
    near: { readonly life: Life; readonly path: Path },
    far: { readonly life: Life; readonly path: Path },
  ): readonly [SimulatedSocket, SimulatedSocket] {
    const a = new SimulatedSocket(scheduler, near.life, near.path);
    const b = new SimulatedSocket(scheduler, far.life, far.path);
    a.#other = b;
    b.#other = a;
    return [a, b];
  }

  setNoDelay(): void {}

  write(content: Uint8Array | string, taken?: () => void): boolean {
    if (this.destroyed || !this.#life.step()) return false;
    const bytes = Buffer.from(content as Uint8Array);
    if (taken !== undefined) this.#scheduler.turn(() => this.#life.alive && taken());
    this.#out.carry(bytes.length, () => this.#other.#arrive(bytes));
    return true;
  }

  isPaused(): boolean {
    return this.#paused;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    for (const bytes of this.#received.splice(0)) this.#emit('data', bytes);
  }

  end(): void {
    this.#out.carry(0, () => this.#other.#closed());
    this.#scheduler.turn(() => this.#closed());
  }

  destroy(reason?: Error): void {
    if (this.destroyed) return;
    this.#out.carry(0, () => this.#other.#closed());
    this.destroyed = true;
    this.#scheduler.turn(() => {
      if (reason !== undefined) this.#emit('error', reason);
      this.#emit('close');
    });
  }

  on(event: EventName, listener: (argument: never) => void): this {
    const known = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, known.add(listener as Listener));
    return this;
  }

  once(event: EventName, listener: () => void): this {
    const first = () => {
      this.off(event, first);
      listener();
    };
    return this.on(event, first);
  }

  off(event: EventName, listener: () => void): this {
    this.#listeners.get(event)?.delete(listener as Listener);
    return this;
  }

  /** The connection is there. */
  connected(): void {
    this.#emit('connect');
  }

  #arrive(bytes: Buffer): void {
    if (this.destroyed) return;
    if (this.#paused) this.#received.push(bytes);
    else this.#emit('data', bytes);
  }

  #closed(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.#emit('close');
  }

  #emit(event: EventName, argument?: unknown): void {
    if (!this.#life.alive) return;
    for (const listener of [...(this.#listeners.get(event) ?? [])])
      (listener as (argument?: unknown) => void)(argument);
  }
}
