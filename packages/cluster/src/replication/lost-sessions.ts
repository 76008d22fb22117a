import type { HalfInfo } from '@antipode/blocks';
import type { Catalog } from '../catalog/catalog.ts';
import type { DataPlane } from '../local/api.ts';
import type { SessionEntry, SessionRegistry } from './session-parts.ts';

export interface LostSessionsDeps {
  readonly catalog: Catalog;
  readonly dataPlane: DataPlane;
  readonly entries: SessionRegistry['entries'];
  /** Makes a session of a half; undefined: its peer is not known. */
  readonly adopt: (half: HalfInfo) => SessionEntry | undefined;
  /** Brings catalog and session in line with the engine, and has it go on. */
  readonly begin: (entry: SessionEntry) => Promise<void>;
}

/** Sessions that were lost with the catalog: taken up from the engine, as they are, when their peer is entered again [C7.1]. */
export class LostSessions {
  readonly #deps: LostSessionsDeps;
  #started = false;
  /** Whether halves may have a peer again since they were last looked at. */
  #isDue = false;
  #looking: Promise<void> | undefined;

  constructor(deps: LostSessionsDeps) {
    this.#deps = deps;
  }

  /** A peer was entered. */
  due(): void {
    this.#isDue = true;
    this.look();
  }

  /** All that the catalog knows is there: what it does not know is a lost one. */
  start(): void {
    this.#started = true;
    this.look();
  }

  /** Looks now if that is due; what a data plane that is away keeps from being looked at waits until it is back. */
  look(): void {
    if (!this.#started || !this.#isDue || this.#looking !== undefined) return;
    this.#isDue = false;
    this.#looking = this.#takeUp()
      .catch(() => {
        this.#isDue = true;
      })
      .finally(() => {
        this.#looking = undefined;
      });
  }

  /** Resolves once what is being looked at is a session, or is none; undefined: nothing is. */
  get looked(): Promise<void> | undefined {
    return this.#looking;
  }

  async #takeUp(): Promise<void> {
    const { catalog, dataPlane, entries, adopt, begin } = this.#deps;
    for (const half of await dataPlane.halves()) {
      // One that is being born is no lost one.
      if (entries.has(half.session) || catalog.get('intent', half.session) !== undefined) continue;
      const entry = adopt(half);
      if (entry !== undefined) await begin(entry);
    }
  }
}
