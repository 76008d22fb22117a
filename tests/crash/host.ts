import { isNbdError, type NbdClient } from '../../packages/hosts/src/index.ts';

export const sector_bytes = 512;
const words = sector_bytes / 4;
const blockSectors = 8;
const lengthMost = 64;

/** One ordered change: what each of its sectors holds afterwards. Stamp 0: zeros. */
interface Change {
  readonly volume: number;
  readonly sector: number;
  /** One stamp for all sectors, or one for each; the latter is what a write that was cut off left. */
  readonly count: number;
  readonly stamps: number | readonly number[];
}

/** What an image shows: every change up to `changes`, and of the one after it some sectors or none. */
export interface Fit {
  readonly changes: number;
  readonly torn: Change | undefined;
}

export interface HostOptions {
  readonly id: number;
  /** Names of the volumes that it writes to in turn. */
  readonly volumes: readonly string[];
  /** Its own part of each of them. */
  readonly firstSector: number;
  readonly sectors: number;
  readonly chance: () => number;
  /** Mean time between two requests. */
  readonly think_ms: number;
}

/**
 * A host that knows what it wrote. Requests go out one after the other, each once the one before was answered, over several volumes:
 * so any image that shows a change must show all those before it, in all of its volumes. It knows which changes were acknowledged
 * and which a flush or FUA covered.
 */
export class Host {
  readonly #options: HostOptions;
  readonly #base: Uint32Array[];
  #history: Change[] = [];
  #acknowledged = 0;
  #flushed = 0;
  #stamp = 0;
  #running: Promise<void> | undefined;
  #devices: NbdClient[] = [];
  #stopping = false;
  requests = 0;
  /** Why it does not write any more. */
  ended: string | undefined;

  constructor(options: HostOptions) {
    this.#options = options;
    this.#base = options.volumes.map(() => new Uint32Array(options.sectors));
  }

  get volumes(): readonly string[] {
    return this.#options.volumes;
  }
  get acknowledged(): number {
    return this.#acknowledged;
  }
  get flushed(): number {
    return this.#flushed;
  }
  get issued(): number {
    return this.#history.length;
  }

  /** Writes until it is stopped or something goes wrong. */
  start(open: (volume: string) => Promise<NbdClient>): void {
    this.#stopping = false;
    this.ended = undefined;
    this.#running = this.#run(open).catch((error: unknown) => {
      this.ended = isNbdError(error) ? `${error.kind} ${error.errno ?? ''}` : String(error);
    });
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
    const devices = this.#devices;
    this.#devices = [];
    await Promise.all(devices.map((device) => device.close().catch(() => undefined)));
  }

  async #run(open: (volume: string) => Promise<NbdClient>): Promise<void> {
    this.#devices = [];
    for (const name of this.volumes) this.#devices.push(await open(name));
    const { chance, think_ms } = this.#options;
    while (!this.#stopping) {
      await this.#request();
      this.requests += 1;
      if (chance() < 0.8) await new Promise((resolve) => setTimeout(resolve, chance() * 2 * think_ms));
    }
  }

  async #request(): Promise<void> {
    const { chance, firstSector, sectors } = this.#options;
    const whole = (below: number) => Math.floor(chance() * below);
    const volume = whole(this.#devices.length);
    const device = this.#devices[volume]!;
    const kind = chance();
    if (kind < 0.06) {
      const before = this.#acknowledged;
      await device.flush();
      this.#flushed = Math.max(this.#flushed, before);
      return;
    }
    const aligned = kind < 0.12 || chance() < 0.5;
    const count = aligned ? blockSectors * (1 + whole(lengthMost / blockSectors)) : 1 + whole(lengthMost);
    const sector = aligned ? blockSectors * whole((sectors - count) / blockSectors + 1) : whole(sectors - count + 1);
    const at = (firstSector + sector) * sector_bytes;
    const fua = chance() < 0.05;
    const zeros = kind < 0.2;
    const stamp = zeros ? 0 : ++this.#stamp;
    this.#history.push({ volume, sector, count, stamps: stamp });
    if (kind < 0.12) await device.trim(at, count * sector_bytes, { fua });
    else if (zeros) await device.writeZeroes(at, count * sector_bytes, { fua });
    else await device.write(at, this.#content(volume, sector, count, stamp), { fua });
    this.#acknowledged = this.#history.length;
    // One log: what is durable is all that was ordered before.
    if (fua) this.#flushed = this.#acknowledged;
  }

  #content(volume: number, sector: number, count: number, stamp: number): Uint8Array {
    const content = new Uint32Array(count * words);
    for (let index = 0; index < count; index++)
      fillSector(content, index * words, this.#options.id, volume, sector + index, stamp);
    return new Uint8Array(content.buffer);
  }

  /**
   * Finds which of its changes the images show; throws unless there is one up to which they show everything, at or after `least`.
   * The next one may be there in part: it was on its way.
   */
  fit(images: readonly Uint8Array[], least: number, where: string): Fit {
    const seen = images.map((image, volume) => this.#stampsOf(image, volume, where));
    const state = this.#base.map((stamps) => stamps.slice());
    let wrong = 0;
    for (const [volume, stamps] of state.entries())
      for (let sector = 0; sector < stamps.length; sector++) if (stamps[sector] !== seen[volume]![sector]) wrong += 1;
    let found: Fit | undefined;
    let closest = { changes: 0, wrong };
    for (let changes = 0; ; changes++) {
      const next = this.#history[changes];
      if (changes >= least) {
        if (wrong < closest.wrong || closest.changes < least) closest = { changes, wrong };
        if (wrong === 0) found = { changes, torn: undefined };
        else if (next !== undefined && partly(next, state[next.volume]!, seen[next.volume]!) === wrong)
          found = {
            changes,
            torn: { ...next, stamps: Array.from(seen[next.volume]!.subarray(next.sector, next.sector + next.count)) },
          };
      }
      if (next === undefined) break;
      wrong += apply(next, state[next.volume]!, seen[next.volume]!);
    }
    if (found !== undefined) return found;
    throw new Error(
      `${where}: host ${this.#options.id} on ${this.volumes.join(', ')} finds no moment at or after its change ${least} of ${this.#history.length} (${this.#acknowledged} acknowledged, ${this.#flushed} flushed) that the image shows; closest is ${closest.changes}, with ${closest.wrong} sectors that differ`,
    );
  }

  /** What was seen is what there is: later changes never happened. */
  adopt({ changes, torn }: Fit): void {
    this.#history.length = changes;
    if (torn !== undefined) this.#history.push(torn);
    this.#acknowledged = this.#history.length;
    this.#flushed = this.#history.length;
  }

  /** Both sites hold all of it: histories begin anew. */
  rebase(): void {
    for (const change of this.#history) apply(change, this.#base[change.volume]!, this.#base[change.volume]!);
    this.#history = [];
    this.#acknowledged = 0;
    this.#flushed = 0;
  }

  #stampsOf(image: Uint8Array, volume: number, where: string): Uint32Array {
    const { firstSector, sectors, id } = this.#options;
    const all = new Uint32Array(image.buffer, image.byteOffset, image.byteLength / 4);
    const stamps = new Uint32Array(sectors);
    const expected = new Uint32Array(words);
    for (let sector = 0; sector < sectors; sector++) {
      const at = (firstSector + sector) * words;
      const stamp = all[at]!;
      if (stamp === 0) expected.fill(0);
      else fillSector(expected, 0, id, volume, sector, stamp);
      for (let word = 0; word < words; word++)
        if (all[at + word] !== expected[word])
          throw new Error(
            `${where}: sector ${firstSector + sector} of ${this.volumes[volume]} holds bytes that nobody wrote there (stamp ${stamp}, word ${word})`,
          );
      stamps[sector] = stamp;
    }
    return stamps;
  }
}

const stampAt = ({ stamps }: Change, index: number): number => (typeof stamps === 'number' ? stamps : stamps[index]!);

/** Applies a change; answers by how much the number of sectors that differ from what was seen grows. */
function apply(change: Change, state: Uint32Array, seen: Uint32Array): number {
  let more = 0;
  for (let index = 0; index < change.count; index++) {
    const sector = change.sector + index;
    const stamp = stampAt(change, index);
    more += Number(stamp !== seen[sector]) - Number(state[sector] !== seen[sector]);
    state[sector] = stamp;
  }
  return more;
}

/** Sectors of a change that were seen to have it already. */
function partly(change: Change, state: Uint32Array, seen: Uint32Array): number {
  let done = 0;
  for (let index = 0; index < change.count; index++) {
    const sector = change.sector + index;
    if (state[sector] !== seen[sector] && stampAt(change, index) === seen[sector]) done += 1;
  }
  return done;
}

function fillSector(target: Uint32Array, at: number, id: number, volume: number, sector: number, stamp: number): void {
  target[at] = stamp;
  let state = Math.imul(stamp ^ (id << 28) ^ (volume << 26), 0x9e3779b1) ^ sector;
  for (let word = 1; word < words; word++) {
    state = Math.imul(state, 1664525) + 1013904223;
    target[at + word] = state;
  }
}
