import { connect, createServer, type Server, type Socket } from 'node:net';

/** What the network does to everything that passes. */
export interface Weather {
  /** Nothing passes any more, in either direction, and nobody is told: connections stay open, new ones are accepted. */
  readonly stalled?: boolean;
  /** Pieces larger than this never arrive, as where a path's MTU is smaller than it says and nobody is told. */
  readonly most_bytes?: number;
  /** One way. */
  readonly delay_ms?: number;
  /** Share of pieces that come this much later, as when a lost one is sent again; what is behind them waits. */
  readonly loss?: { readonly share: number; readonly again_ms: number };
  /** Share of pieces in which one bit is not as it was sent. */
  readonly flipped?: number;
}

interface Passage {
  readonly near: Socket;
  readonly far: Socket;
}

/** A network between two clusters that does what networks do. One listening port for each target. */
export class HostileLink {
  readonly #servers: Server[] = [];
  readonly #passages = new Set<Passage>();
  readonly #targets = new Map<number, number>();
  /** What went towards a target, by its port, since {@link record}. */
  readonly #recorded: { readonly port: number; readonly bytes: Buffer }[] = [];
  #recording = false;
  #seed = 7;
  weather: Weather = {};

  async listen(port: number, target: number): Promise<void> {
    this.#targets.set(port, target);
    const server = createServer({ allowHalfOpen: true }, (near) => this.#accept(near, port));
    this.#servers.push(server);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
  }

  /** Leads a port somewhere else, for connections to come; those that are open are reset. */
  lead(port: number, target: number): void {
    this.#targets.set(port, target);
    this.reset();
  }

  get connections(): number {
    return this.#passages.size;
  }

  /** RST to both ends of everything that is open. */
  reset(): void {
    for (const { near, far } of this.#passages) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
  }

  /** One end is gone without a word: the other keeps an open connection that leads nowhere. */
  halfOpen(): void {
    for (const { near, far } of [...this.#passages]) {
      far.removeAllListeners('data');
      near.removeAllListeners('data');
      // The near end goes on sending into nothing; the far end hears no goodbye either.
      near.resume();
      far.resume();
    }
  }

  record(): void {
    this.#recording = true;
  }

  /** What went towards a target, one buffer a connection, in the order of their beginnings. */
  recorded(port: number): Buffer[] {
    return this.#recorded.filter((one) => one.port === port).map(({ bytes }) => bytes);
  }

  async close(): Promise<void> {
    this.reset();
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }

  #accept(near: Socket, port: number): void {
    const far = connect({ host: '127.0.0.1', port: this.#targets.get(port)!, allowHalfOpen: true });
    const passage = { near, far };
    this.#passages.add(passage);
    const recording = this.#recording ? { port, parts: [] as Buffer[] } : undefined;
    const over = () => {
      if (!this.#passages.delete(passage)) return;
      near.destroy();
      far.destroy();
      if (recording !== undefined) this.#recorded.push({ port, bytes: Buffer.concat(recording.parts) });
    };
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on('error', over);
      socket.on('close', over);
    }
    this.#pass(near, far, (piece) => recording?.parts.push(piece));
    this.#pass(far, near, () => undefined);
  }

  #pass(from: Socket, to: Socket, seen: (piece: Buffer) => void): void {
    let free_at = 0;
    const later = (work: () => void): void => {
      const { delay_ms = 0, loss } = this.weather;
      const again = loss !== undefined && this.#chance() < loss.share ? loss.again_ms : 0;
      if (delay_ms + again === 0 && performance.now() >= free_at) return work();
      free_at = Math.max(free_at, performance.now() + delay_ms + again);
      setTimeout(work, free_at - performance.now());
    };
    from.on('data', (piece: Buffer) => {
      const { stalled, most_bytes, flipped } = this.weather;
      if (stalled || (most_bytes !== undefined && piece.length > most_bytes)) {
        // A lost piece is never followed by a later one: from here on nothing arrives in this direction.
        from.pause();
        return;
      }
      seen(piece);
      if (flipped !== undefined && this.#chance() < flipped) {
        piece = Buffer.from(piece);
        piece[Math.floor(this.#chance() * piece.length)]! ^= 1 << Math.floor(this.#chance() * 8);
      }
      // Backpressure, so that a slow end does not fill this process's memory.
      later(() => {
        if (!to.destroyed && !to.write(piece)) {
          from.pause();
          to.once('drain', () => from.resume());
        }
      });
    });
    from.on('end', () => later(() => to.end()));
  }

  #chance(): number {
    this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) >>> 0;
    return this.#seed / 4_294_967_296;
  }
}
