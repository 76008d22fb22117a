import { diskError } from '@antipode/blocks/testing';
import { choose } from './choose.ts';
import { goodPath } from './path.ts';
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
} as const;
type Evil = keyof typeof evils;

const second = 1000;
const minute = 60 * second;

/** Chooses what goes wrong next, and how; the same for the same seed. */
export class Nemesis {
  readonly #world: World;

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
      case 'turn_clock': {
        site.skew_ms += turn;
        return;
      }
    }
  }

  /** Everything is as it should be. */
  heal(): void {
    const { network, sites } = this.#world;
    for (const path of network.paths()) path.heal();
    for (const { index } of sites) this.#mend(index);
  }

  #mend(site: number): void {
    const { sites, scheduler, random } = this.#world;
    sites[site]!.disk.faults = { sync: () => scheduler.wait(0.2 + random.fraction() * 2).then(() => undefined) };
    sites[site]!.disk.setCapacity(2 ** 40);
  }
}
