import type { Clock } from '@antipode/base';
import type { ReplicationSession } from '@antipode/client';
import { FatImage } from '../image/fat-image.ts';
import type { ControlRequest, LabStatus } from '../lab/control-protocol.ts';
import type { SiteName } from '../lab/layout.ts';
import { limits } from '../limits.ts';
import { CheckFailed, type Checks } from './check.ts';
import { refusalOf } from './host-volume.ts';
import { type DrillSite, figuresAt, isAway, sessionAt } from './site.ts';
import { digestVolume, type HostVolume, writeImage } from './volume-io.ts';

export interface DrillDeps {
  readonly sites: Readonly<Record<SiteName, DrillSite>>;
  readonly control: (request: ControlRequest) => Promise<LabStatus>;
  readonly clock: Clock;
  readonly checks: Checks;
  readonly progress: (fraction: number, what: string) => void;
  readonly stop: AbortSignal;
  readonly size_bytes: number;
  readonly killClusters: boolean;
  /** A state that is not reached within this has failed the step. */
  readonly stateWait_ms: number;
  /** Distinguishes this run's objects from those of others. */
  readonly runName: string;
}

interface Seen {
  readonly London: ReplicationSession | undefined;
  readonly Osaka: ReplicationSession | undefined;
}

/** What a drill has done so far, and the moves that its steps are made of. */
export class Drill {
  readonly deps: DrillDeps;
  readonly volumeName: string;
  readonly volumeIds: Partial<Record<SiteName, string>> = {};
  sessionId = '';
  ruleId = '';
  policyId = '';
  /** What the volume holds by now at the source, as far as this drill wrote it. */
  image: FatImage;
  written_bytes = 0;
  plannedRto_ms: number | undefined;
  unplannedRto_ms: number | undefined;
  unplannedRpo_ms: number | undefined;
  /** When the newest complete copy was asked for; `monotonic`. */
  copyAsked_ms = 0;
  cutAt_ms = 0;
  recoveredSha256 = '';
  sourceSha256 = '';
  /** A connection that a host keeps open across a change of roles. */
  oldConnection: HostVolume | undefined;
  /** What of the source's writes is to be lost, in bytes. */
  lost_bytes = 0;

  constructor(deps: DrillDeps) {
    this.deps = deps;
    this.volumeName = `drill-${deps.runName}`;
    this.image = this.imageOf(0);
  }

  imageOf(generation: number): FatImage {
    return new FatImage({ size_bytes: this.deps.size_bytes, seed: 20_26, generation });
  }

  /** Does something with an open volume and closes it. */
  async withVolume<T>(site: SiteName, use: (volume: HostVolume) => Promise<T>): Promise<T> {
    const volume = await this.deps.sites[site].open(this.volumeName);
    try {
      return await use(volume);
    } finally {
      await volume.close();
    }
  }

  /** Writes what makes the present image the one of a later generation; answers the bytes that takes. */
  async writeGeneration(site: SiteName, generation: number): Promise<number> {
    const next = this.imageOf(generation);
    const ranges = next.rangesSince(this.image);
    const bytes = await this.withVolume(site, (volume) =>
      writeImage(volume, next, ranges, (fraction) => this.deps.progress(fraction, `writing at ${site}`)),
    );
    this.written_bytes += bytes;
    this.image = next;
    return bytes;
  }

  /** Checks that a site serves an image bit for bit. */
  async verify(site: SiteName, image: FatImage): Promise<void> {
    const wanted = image.sha256();
    const seen = await this.withVolume(site, (volume) =>
      digestVolume(volume, (fraction) => this.deps.progress(fraction, `reading back at ${site}`)),
    );
    this.deps.checks.equal(`SHA-256 of the volume at ${site}`, seen, wanted);
    this.sourceSha256 = wanted;
    this.recoveredSha256 = seen;
  }

  /** Checks that hosts cannot write at a site: neither on a new connection nor on the one kept open. */
  async verifyRefusesWrites(site: SiteName): Promise<void> {
    const attempt = async (volume: HostVolume): Promise<string> => {
      try {
        const there = await volume.read(0, 4096);
        await volume.write(0, there);
        await volume.flush();
        return 'success';
      } catch (error) {
        return refusalOf(error);
      }
    };
    await this.withVolume(site, async (volume) => {
      this.deps.checks.that(`${site} to export the volume read-only`, volume.isReadOnly, () => 'a writable export');
      this.deps.checks.equal(`the answer to a write at ${site}`, await attempt(volume), 'EPERM');
    });
    const old = this.oldConnection;
    if (old === undefined) return;
    this.oldConnection = undefined;
    const answer = await attempt(old);
    this.deps.checks.that(
      `a write at ${site} on a connection that was open before to fail`,
      answer !== 'success',
      () => answer,
    );
    await old.close().catch(() => undefined);
  }

  /** Waits until both halves of the session are as wanted; a site that is away is waited for. */
  async waitForSession(
    wanted: string,
    holds: (seen: Required<{ [K in SiteName]: ReplicationSession }>) => boolean,
    most_ms: number = this.deps.stateWait_ms,
  ): Promise<void> {
    const { clock, sites, stop, checks } = this.deps;
    const until_ms = clock.monotonic() + most_ms;
    let seen: Seen = { London: undefined, Osaka: undefined };
    while (true) {
      stop.throwIfAborted();
      const [London, Osaka] = await Promise.all([this.#look(sites.London), this.#look(sites.Osaka)]);
      seen = { London, Osaka };
      if (London !== undefined && Osaka !== undefined && holds({ London, Osaka })) {
        checks.that(wanted, true, () => '');
        return;
      }
      if (clock.monotonic() > until_ms)
        throw new CheckFailed(`${wanted} within ${Math.round(most_ms / 1000)} s`, describe(seen));
      this.#showCopy(London, Osaka);
      await clock.sleep(limits.poll_ms, stop);
    }
  }

  /** Waits for something else than the session. */
  async waitUntil(
    wanted: string,
    look: () => Promise<{ readonly holds: boolean; readonly seen: string }>,
  ): Promise<void> {
    const { clock, stop, checks } = this.deps;
    const until_ms = clock.monotonic() + this.deps.stateWait_ms;
    while (true) {
      stop.throwIfAborted();
      const { holds, seen } = await look().catch((error: unknown) => {
        if (!isAway(error)) throw error;
        return { holds: false, seen: error instanceof Error ? error.message : String(error) };
      });
      if (holds) return checks.that(wanted, true, () => '');
      if (clock.monotonic() > until_ms)
        throw new CheckFailed(`${wanted} within ${this.deps.stateWait_ms / 1000} s`, seen);
      await clock.sleep(limits.poll_ms, stop);
    }
  }

  /** Time that a synchronization of so many bytes may take. */
  syncMost_ms(bytes: number): number {
    return this.deps.stateWait_ms + (bytes / limits.syncLeast_bytes_per_s) * 1000;
  }

  /** One manual cycle; checks that it ends at both sites and ships about what changed. */
  async synchronize(source: SiteName, changed_bytes: number): Promise<void> {
    const shippedBefore = await this.shipped_bytes();
    const before = await sessionAt(this.deps.sites[source], this.sessionId);
    this.copyAsked_ms = this.deps.clock.monotonic();
    await this.deps.sites[source].client.action('replication_session', this.sessionId, 'sync');
    await this.waitForSession(
      'the session to be OK at both sites after a newer synchronization',
      (seen) =>
        bothAre(seen, 'OK') &&
        Date.parse(seen[source].last_sync_timestamp ?? '') >
          Date.parse(before.last_sync_timestamp ?? '1970-01-01T00:00:00Z'),
      this.syncMost_ms(changed_bytes),
    );
    await this.checkShipped(shippedBefore, changed_bytes);
  }

  /** Bytes that both sites have shipped in this session so far. */
  async shipped_bytes(): Promise<number> {
    const { London, Osaka } = this.deps.sites;
    const [first, second] = await Promise.all([figuresAt(London, this.sessionId), figuresAt(Osaka, this.sessionId)]);
    return first.shipped_bytes_total + second.shipped_bytes_total;
  }

  /**
   * What was shipped since is no more than 1.2 times what was written. It may be less, since some of that may have been there
   * already, but not by half.
   */
  async checkShipped(before_bytes: number, written_bytes: number): Promise<void> {
    const shipped = (await this.shipped_bytes()) - before_bytes;
    const least = Math.max(0, Math.floor(written_bytes * 0.5 - 4096));
    const most = Math.floor(written_bytes * 1.2);
    this.deps.checks.that(
      `${least} to ${most} bytes shipped for ${written_bytes} written`,
      shipped >= least && shipped <= most,
      () => `${shipped} bytes shipped`,
    );
  }

  async #look(site: DrillSite): Promise<ReplicationSession | undefined> {
    try {
      return await sessionAt(site, this.sessionId);
    } catch (error) {
      // The other half is made by the peer a moment later; a site that was killed is away.
      if (isAway(error) || (error instanceof Error && 'status' in error && error.status === 404)) return undefined;
      throw error;
    }
  }

  #showCopy(...halves: readonly (ReplicationSession | undefined)[]): void {
    const source = halves.find((half) => half?.role === 'Source');
    if (source?.progress_percentage !== null && source?.progress_percentage !== undefined)
      this.deps.progress(source.progress_percentage / 100, `${source.state}`);
  }
}

export const bothAre = (seen: { readonly [K in SiteName]: ReplicationSession }, state: string): boolean =>
  seen.London.state === state && seen.Osaka.state === state;

function describe(seen: Seen): string {
  return (['London', 'Osaka'] as const)
    .map((name) => {
      const half = seen[name];
      if (half === undefined) return `${name}: no session`;
      const error = half.error_code === null || half.error_code === undefined ? '' : ` (${half.error_code})`;
      return `${name}: ${half.role} ${half.state}${error}, last synchronization ${half.last_sync_timestamp ?? 'never'}`;
    })
    .join('; ');
}
