import type { Clock, Timer } from '@antipode/base';
import type { Catalog } from '../catalog/catalog.ts';
import type { About, Reporter } from './occurrences.ts';

/** How often what the catalog could not store is tried again. */
const settleEvery_ms = 2_000;

export interface CatalogWatchDeps {
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly reporter: Reporter;
  readonly about: () => About;
  /** The catalog takes changes again: who follows something looks for what could not be stored. */
  readonly resumed: () => void;
}

/** Tells when the medium of the catalog takes nothing, and has what waits for it stored once it does. */
export class CatalogWatch {
  readonly #deps: CatalogWatchDeps;
  #raised = false;
  #timer: Timer | undefined;

  constructor(deps: CatalogWatchDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#raised = this.#deps.reporter.isRaised('catalog_stopped', this.#deps.about());
    this.#look();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #look(): void {
    const { catalog, clock, reporter, about, resumed } = this.#deps;
    // Told before it is tried again: the alert itself shows whether anything is taken.
    if (catalog.refused !== undefined && !this.#raised) {
      reporter.tell('catalog_stopped', about(), catalog.refused);
      this.#raised = true;
    }
    if (catalog.settle() && this.#raised) {
      this.#raised = false;
      reporter.clear('catalog_stopped', about());
      reporter.tell('catalog_resumed', about());
      resumed();
    }
    this.#timer = clock.after(settleEvery_ms, () => this.#look());
  }
}
