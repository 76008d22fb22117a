import { diskError } from '@antipode/blocks/testing';
import { choose } from './choose.ts';
import { goodPath } from './path.ts';
import type { ProcessKind, Site } from './site.ts';
import type { World } from './world.ts';

/** What goes wrong, and how often against each other. */
const evils = {
  kill_dataplane: 3,
  kill_management: 3,
  lose_power: 3,
  cut_link: 3,
  cut_one_way: 3,
  bad_link: 4,
  slow_link: 2,
  slow_disk: 2,
  failing_disk: 1,
  full_disk: 1,
  turn_clock: 2,
  replay_messages: 2,
  lose_catalog: 1,
} as const;
type Evil = keyof typeof evils;

/** How often something strikes at what happens: steps of the engine, and commands. */
const momentous = {
  promote: 0.3,
  demote: 0.3,
  seal: 0.2,
  unseal: 0.2,
  advanceBase: 0.02,
  resetBase: 0.1,
  startTest: 0.1,
  stopTest: 0.1,
  openStage: 0.01,
  commitStage: 0.02,
  createHalf: 0.15,
  removeHalf: 0.15,
  command: 0.1,
  command_in_cycle: 0.3,
} as const;

const second = 1000;
const minute = 60 * second;

/** Chooses what goes wrong next, and how; the same for the same seed. */
export class Nemesis {
  readonly #world: World;
  /** Whether moments that matter are struck at. */
  awake = false;

  constructor(world: World) {
    this.#world = world;
  }

  /** One thing goes wrong, for a while. */
  strike(): void {
    const { evilRandom: random, sites, scheduler, trace, without } = this.#world;
    const choice = (most: number) => Math.floor(random.fraction() * most);
    const site = sites[choice(sites.length)]!;
    const other = sites[(site.index + 1 + choice(sites.length - 1)) % sites.length]!;
    const evil = choose<Evil>(random, evils);
    const lasting = [5 * second, minute, 5 * minute, 30 * minute, 120 * minute][choice(5)]! * (0.5 + random.fraction());
    const steps = random.fraction() < 0.3 ? 0 : choice(300);
    const size = choice(256);
    const turn = (random.fraction() - 0.5) * 2 * [second, minute, 60 * minute][choice(3)]!;
    if (without.has(evil)) return;
    this.#world.tell(`evil ${evil} at ${site.name} for ${Math.round(lasting)}`);
    trace.count(`evil ${evil}`);
    const for_a_while = (end: () => void) => scheduler.after(lasting, end);
    const out = this.#world.network.path(site.index, other.index);
    const back = this.#world.network.path(other.index, site.index);
    switch (evil) {
      case 'kill_dataplane':
        return site.crash('dataplane', steps);
      case 'kill_management':
        return site.crash('management', steps);
      case 'lose_power':
        return site.crash('power', steps);
      case 'cut_link':
      case 'cut_one_way': {
        const cut = evil === 'cut_link' ? [out, back] : [out];
        for (const path of cut) path.faults = { ...path.faults, cut: true };
        this.#world.aimed.linkCut([site, other], lasting);
        return void for_a_while(() => {
          for (const path of cut) path.heal({ ...path.faults, cut: false });
        });
      }
      case 'bad_link': {
        const faults = { drop: 0.1, duplicate: 0.2, late: 0.2, late_ms: lasting * 2, jitter_ms: 400 };
        for (const path of [out, back]) path.faults = { ...path.faults, ...faults };
        return void for_a_while(() => {
          for (const path of [out, back]) path.heal({ ...goodPath(), cut: path.faults.cut });
        });
      }
      case 'slow_link': {
        for (const path of [out, back]) path.faults = { ...path.faults, bytes_per_ms: 20, delay_ms: 300 };
        return void for_a_while(() => {
          for (const path of [out, back]) path.heal({ ...goodPath(), cut: path.faults.cut });
        });
      }
      case 'slow_disk': {
        site.disk.faults = {
          ...site.disk.faults,
          sync: () => scheduler.wait(random.fraction() * 3_000).then(() => undefined),
        };
        return void for_a_while(() => this.#mend(site.index));
      }
      case 'failing_disk': {
        const fails = () => (random.fraction() < 0.05 ? diskError('EIO') : undefined);
        site.disk.faults = { write: fails, sync: fails };
        return void for_a_while(() => this.#mend(site.index));
      }
      case 'full_disk': {
        site.disk.setCapacity(site.disk.used() + size * 1024);
        return void for_a_while(() => this.#mend(site.index));
      }
      case 'lose_catalog':
        return site.loseCatalog(random.fraction());
      case 'replay_messages': {
        // Several: most of what is said is a heartbeat's or a contact's.
        for (let again = 1 + (size % 12); again > 0; again--) this.#world.network.replay(random.fraction());
        return;
      }
      case 'turn_clock': {
        site.skew_ms += turn;
        return;
      }
    }
  }

  /**
   * Something that must survive together with something else is being done: now and then a process or a machine, there or at the other
   * side, ends a few effects later.
   */
  moment(what: string, sites: readonly Site[]): void {
    const { evilRandom: random, trace, without } = this.#world;
    const rate = momentous[what as keyof typeof momentous] ?? 0;
    if (!this.awake || without.has('strike_moment') || random.fraction() >= rate) return;
    const site = sites[Math.floor(random.fraction() * sites.length)]!;
    const end = choose<ProcessKind | 'power'>(random, { dataplane: 2, management: 3, power: 1 });
    const steps = Math.floor(random.fraction() ** 2 * 60);
    this.#world.tell(`evil strike_moment: ${end} at ${site.name}, ${steps} effects into ${what}`);
    trace.count('evil strike_moment');
    site.crash(end, steps);
  }

  /** Everything is as it should be. */
  heal(): void {
    this.awake = false;
    const { network, sites } = this.#world;
    for (const path of network.paths()) path.heal();
    for (const site of sites) {
      site.spare();
      this.#mend(site.index);
    }
  }

  #mend(site: number): void {
    const { sites, scheduler, random } = this.#world;
    sites[site]!.disk.faults = { sync: () => scheduler.wait(0.2 + random.fraction() * 2).then(() => undefined) };
    sites[site]!.disk.setCapacity(2 ** 40);
  }
}
