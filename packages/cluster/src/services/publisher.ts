import { DataPlaneAway } from '../local/client.ts';

/**
 * Keeps something that the data plane knows equal to the catalog: it is told anew after every change and whenever the data plane comes
 * back. One telling at a time, so that something older never comes after something newer.
 */
export class Publisher {
  readonly #tell: () => Promise<void>;
  #stale = false;
  #running: Promise<void> | undefined;

  constructor(tell: () => Promise<void>) {
    this.#tell = tell;
  }

  /** Resolves when the data plane acts on what is at least as new as this call; one that is away is told when it is back. */
  async publish(): Promise<void> {
    this.#stale = true;
    while (this.#running !== undefined) await this.#running;
    if (!this.#stale) return;
    this.#running = this.#once();
    await this.#running;
  }

  async #once(): Promise<void> {
    this.#stale = false;
    try {
      await this.#tell();
    } catch (error) {
      if (!(error instanceof DataPlaneAway)) throw error;
    } finally {
      this.#running = undefined;
    }
  }
}
