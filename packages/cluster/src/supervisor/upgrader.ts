import { passFaultPoint } from '@antipode/base';
import type { SupervisedChild } from './child.ts';
import type { SoftwareState, UpgradeRequest, UpgradeStatus } from './messages.ts';
import { began, committed, type ReleaseState, rolledBack, writeReleaseState } from './release-state.ts';
import type { Release } from './releases.ts';

export interface UpgraderDeps {
  readonly dataDir: string;
  readonly management: Pick<SupervisedChild, 'replace' | 'revert' | 'tell'>;
  readonly dataPlanes: readonly Pick<SupervisedChild, 'replace' | 'revert'>[];
  /** A release by its id, compared with what was signed. */
  readonly open: (id: string) => Promise<Release>;
  /** What runs. */
  readonly release: Release;
  readonly state: ReleaseState;
  readonly log: (line: string) => void;
}

/**
 * Exchanges a running cluster's processes for those of another release, one at a time. Management goes first: what is wrong with a release
 * shows there before any host notices anything. A data plane's turn is the one pause of its hosts. Until all of them have shown
 * that they work nothing is decided: whatever fails, and whatever is killed, the release of before is what runs.
 */
export class Upgrader {
  readonly #deps: UpgraderDeps;
  #release: Release;
  #state: ReleaseState;
  #running: Promise<void> | undefined;
  #stopping = false;

  constructor(deps: UpgraderDeps) {
    this.#deps = deps;
    this.#release = deps.release;
    this.#state = deps.state;
  }

  /** What a management process of a release is told at its start. */
  softwareState(release: Release): SoftwareState {
    const { previous, upgrade, last } = this.#state;
    return {
      release: release.id,
      software: release.software,
      ...(previous !== undefined && { previous }),
      ...(upgrade && { upgrade }),
      ...(last && { last }),
    };
  }

  /** Begins an upgrade; one that is under way goes on, and the same one again is the same. */
  begin(request: UpgradeRequest): void {
    if (this.#running !== undefined || this.#stopping || this.#state.last?.id === request.id) return;
    this.#running = this.#run(request).finally(() => {
      this.#running = undefined;
    });
  }

  /** Nothing new is begun; what runs gives up where it is, and the next start finds it unfinished. */
  stop(): void {
    this.#stopping = true;
  }

  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(request: UpgradeRequest): Promise<void> {
    const { management, dataPlanes, open, log } = this.#deps;
    const before = this.#release;
    log(`upgrade from ${before.software.build_version} to release ${request.release}`);
    this.#keep(began(this.#state, request));
    passFaultPoint('upgrade.begun');
    try {
      const next = await open(request.release);
      this.#say({ id: request.id, kind: 'replacing', what: 'management' });
      await named('management', management.replace(next));
      passFaultPoint('upgrade.management.replaced');
      for (const dataPlane of dataPlanes) {
        this.#say({ id: request.id, kind: 'replacing', what: 'dataplane' });
        await named('data plane', dataPlane.replace(next));
        passFaultPoint('upgrade.data_plane.replaced');
      }
      this.#release = next;
      this.#keep(committed(this.#state));
      passFaultPoint('upgrade.committed');
      log(`${next.software.build_version} runs`);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (this.#stopping) return;
      log(`the upgrade is rolled back: ${reason}`);
      // Hosts first.
      for (const dataPlane of dataPlanes) await dataPlane.revert(before);
      passFaultPoint('upgrade.data_planes.reverted');
      // Before management starts: it is told at its start.
      this.#keep(rolledBack(this.#state, reason));
      passFaultPoint('upgrade.rolled_back');
      await management.revert(before);
      log(`${before.software.build_version} runs again`);
    }
    const { last } = this.#state;
    if (last !== undefined) this.#say({ kind: 'ended', ...last });
  }

  #say(status: UpgradeStatus): void {
    this.#deps.management.tell({ kind: 'upgrade_status', status });
  }

  #keep(state: ReleaseState): void {
    writeReleaseState(this.#deps.dataDir, state);
    this.#state = state;
  }
}

/** Says which process it was. */
async function named(what: string, work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    throw new Error(`${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
