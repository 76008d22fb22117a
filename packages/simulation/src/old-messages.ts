import type { SessionId } from '@antipode/base';
import { isOffer } from './network.ts';
import type { RunningManagement, Site } from './site.ts';
import type { World } from './world.ts';

/** Looks at what messages do that come late, or once more: they change nothing that is newer [g]. */
export class OldMessages {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** Halves that are gone, by site and session. */
  readonly #graves = new Set<string>();

  /** A half is gone at a site. */
  buried(site: Site, session: SessionId, removed: Promise<void>): void {
    removed.then(
      () => {
        this.#graves.add(`${site.name} ${session}`);
        this.#world.aimed.buried(site, session);
      },
      () => undefined,
    );
  }

  /** A half that was removed never comes back, whoever says once more that it is to be made. */
  reborn(site: Site, { session }: { readonly session: SessionId }, made: Promise<void>): void {
    if (!this.#graves.has(`${site.name} ${session}`)) return;
    made.then(
      () => this.#world.violate('g-old-messages', `a half of ${session} that was removed at ${site.name} came back`),
      () => undefined,
    );
  }

  /** A message that was sent before the half moved on, come late or come again, leaves it as it is [g]. */
  async answered(to: number, copy: 'first' | 'again', text: string, work: () => Promise<unknown>): Promise<unknown> {
    const watched = this.#world.protectedVolumes.find(({ session }) => text.includes(session));
    const side = watched?.sideOf(this.#world.sites[to]!);
    const summary = () => {
      const half = side === undefined ? undefined : watched?.half(side);
      return (
        half && {
          generation: half.generation.number,
          role: half.role,
        }
      );
    };
    const before = summary();
    const generation = Number(/"generation":\{"number":(\d+)/.exec(text)?.[1] ?? 0);
    const offer = isOffer(text) ? this.#offered(this.#world.sites[to]!, text) : undefined;
    const answer = await work();
    offer?.();
    const after = summary();
    if (before === undefined || after === undefined) return answer;
    const where = this.#world.sites[to]!.name;
    const which = copy === 'again' ? 'that came again' : 'that came late';
    if (after.generation < before.generation)
      this.#world.violate('g-old-messages', `a message ${which} took ${where} back to generation ${after.generation}`);
    if (after.role !== before.role && after.generation === before.generation)
      this.#world.violate('g-old-messages', `a message ${which} made ${where} a ${after.role}`);
    if (generation < before.generation) this.#world.trace.count('messages of older generations');
    return answer;
  }

  /** Offers that are being answered, by who answers them. */
  readonly #offers = new WeakMap<RunningManagement, number>();

  /** What is offered for a session that is over already makes nothing [g]; to be called when it is answered. */
  #offered(site: Site, text: string): () => void {
    const { management } = site;
    if (management === undefined) return () => undefined;
    const copies = () =>
      (['volume', 'volume_group'] as const).flatMap((kind) =>
        management.catalog
          .list(kind)
          .flatMap((one) => (one.is_replication_destination ? [`${one.name} (${one.id})`] : [])),
      );
    const isOver = [...this.#graves].some((grave) => {
      const [name, session] = grave.split(' ');
      return name === site.name && text.includes(session!);
    });
    const before = new Set(copies());
    const underWay = (this.#offers.get(management) ?? 0) + 1;
    this.#offers.set(management, underWay);
    return () => {
      const now = this.#offers.get(management)!;
      this.#offers.set(management, now - 1);
      // Copies that another offer makes meanwhile are not its own.
      if (!isOver || underWay > 1 || now > 1 || !management.life.alive) return;
      this.#world.trace.count('offers of what is over');
      const made = copies().filter((copy) => !before.has(copy));
      if (made.length > 0) this.#world.violate('g-old-messages', `an old offer made ${made.join()} at ${site.name}`);
    };
  }
}
