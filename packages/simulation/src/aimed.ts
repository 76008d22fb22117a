import type { SessionId } from '@antipode/base';
import { diskError } from '@antipode/blocks/testing';
import { unprotect } from './endings.ts';
import type { ProtectedVolumes } from './protected-volumes.ts';
import type { Site } from './site.ts';
import type { World } from './world.ts';

const second = 1000;
const minute = 60 * second;

/** How often what matters is met by what it can stand least, where chance alone brings the two together too seldom. */
const rates = {
  /** A session is ended while its link is cut, and the other side does not hear of it. */
  end_unheard: 0.2,
  /** What a session that is over began with is said once more. */
  old_offer: 0.7,
  /** Before volumes are protected again, what was left of their copies is deleted. */
  delete_copies: 0.6,
  /** Management ends after the engine has changed roles, and before the catalog hears of it. */
  unheard_turn: 0.15,
  /** The catalog is one from before a change of roles: an administrator has put a copy of it back. */
  older_catalog: 0.2,
  /** The engine refuses a snapshot, or does not come to answer. */
  refuse_snapshot: 0.08,
} as const;
type Aim = keyof typeof rates;

/** Strikes at moments: the chance of each is a stream of its own, so that others stay what they are. */
export class Aimed {
  readonly #world: World;
  /** Whether anything is aimed at now. */
  awake = false;

  constructor(world: World) {
    this.#world = world;
  }

  #strikes(aim: Aim): boolean {
    const { aimedRandom: random, without, trace } = this.#world;
    if (!this.awake || without.has(aim) || random.fraction() >= rates[aim]) return false;
    trace.count(`evil ${aim}`);
    return true;
  }

  /** The link between two sites is cut, in one direction at least, for `lasting_ms`. */
  linkCut([a, b]: readonly [Site, Site], lasting_ms: number): void {
    const { protectedVolumes, scheduler, aimedRandom: random } = this.#world;
    // Shorter than it takes to notice that a link is lost: who ends the session tells the other side before it goes on.
    if (lasting_ms < 8 * minute) return;
    for (const volumes of protectedVolumes) {
      if (volumes.sideOf(a) === undefined || volumes.sideOf(b) === undefined || !this.#strikes('end_unheard')) continue;
      this.#world.tell(`evil end_unheard of ${volumes.name}`);
      scheduler.after(random.fraction() * minute, () => this.awake && unprotect(this.#world, volumes, 'source'));
    }
  }

  /** A half is gone at a site, for good. */
  buried(site: Site, session: SessionId): void {
    const { network, scheduler, aimedRandom: random } = this.#world;
    if (!this.#strikes('old_offer')) return;
    scheduler.after(random.fraction() ** 2 * 30 * minute, () => network.replayOffer(site.index, session));
  }

  /** Whether who protects volumes again deletes what was left of their copies first. */
  deletesCopies(): boolean {
    return this.#strikes('delete_copies');
  }

  /** Copies at a site are deleted: of none of the sessions that they were of anything is left. */
  copiesDeleted(site: Site, sessions: Iterable<SessionId>): void {
    const { network, without } = this.#world;
    if (without.has('old_offer')) return;
    for (const session of sessions) network.replayOffer(site.index, session);
  }

  /** The engine at a site has made the half another role's, and nobody has heard of it yet. */
  turned(site: Site, volumes: ProtectedVolumes): void {
    const { aimedRandom: random, scheduler } = this.#world;
    if (this.#strikes('older_catalog'))
      scheduler.after(random.fraction() ** 2 * 30 * minute, () => this.awake && site.loseCatalog(random.fraction()));
    if (!this.#strikes('unheard_turn')) return;
    this.#world.tell(`evil unheard_turn at ${site.name} of ${volumes.name}`);
    site.crash('management', 0);
  }

  /** The engine at a site is asked for a snapshot. */
  snapshotAsked(site: Site): void {
    const { aimedRandom: random, scheduler } = this.#world;
    if (!this.#strikes('refuse_snapshot')) return;
    this.#world.tell(`evil refuse_snapshot at ${site.name}`);
    if (random.fraction() < 0.5) return site.crash('dataplane', 1 + Math.floor(random.fraction() * 4));
    const { write, sync } = site.disk.faults;
    const fails = () => diskError('EIO');
    site.disk.faults = { ...site.disk.faults, write: fails, sync: fails };
    scheduler.after(20 * second, () => {
      const { write: now, sync: _, ...rest } = site.disk.faults;
      if (now === fails) site.disk.faults = { ...rest, ...(write && { write }), ...(sync && { sync }) };
    });
  }
}
