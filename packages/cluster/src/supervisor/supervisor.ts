import { type Clock, systemClock } from '@antipode/base';
import type { ClusterConfig } from '../config.ts';
import { ensureLinkIdentity } from '../security/link-identity.ts';
import { prepareAppliances } from './appliances.ts';
import { armFaultPoints } from './arm-fault-points.ts';
import { SupervisedChild } from './child.ts';
import { lockDataDir, prepareDataDir } from './data-dir.ts';
import { chooseRelease, openRelease } from './releases.ts';
import { Upgrader } from './upgrader.ts';

export interface ClusterReady {
  /** Origin of the REST interface. */
  readonly url: string;
  readonly nbd: { readonly host: string; readonly port: number };
  readonly username: string;
  /** Set once, at the very first start, when no password was given. */
  readonly generatedPassword?: string;
}

export interface SupervisorOptions {
  readonly onReady: (ready: ClusterReady) => void;
  /** Aborted: drain and stop. */
  readonly signal: AbortSignal;
  readonly log?: (line: string) => void;
  readonly clock?: Clock;
}

/**
 * One running cluster: a data-plane process for each appliance and a management process, each replaceable alone [C9.1]. Resolves when it has
 * stopped; rejects when it cannot start.
 */
export async function runSupervisor(config: ClusterConfig, options: SupervisorOptions): Promise<void> {
  const clock = options.clock ?? systemClock;
  const log = options.log ?? ((line: string) => console.error(line));
  armFaultPoints(process.env);
  prepareDataDir(config.dataDir);
  const unlock = await lockDataDir(config.dataDir);
  // Before the processes start: both read it, neither may race to make it.
  const { serial } = await ensureLinkIdentity(config.dataDir);
  const appliances = prepareAppliances(config.dataDir, config.appliances, serial);
  let fail: (error: Error) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  const { release, state } = await chooseRelease(config.dataDir, log);
  const common = { config, clock, log, release, onFirstFailure: (message: string) => fail(new Error(message)) };
  const dataPlanes = appliances.map(
    (appliance) => new SupervisedChild({ ...common, name: 'dataplane', extra: () => ({ appliance, appliances }) }),
  );
  const management = new SupervisedChild({
    ...common,
    name: 'management',
    extra: (of) => ({ appliances, software: upgrader.softwareState(of) }),
    onUpgrade: (request) => upgrader.begin(request),
  });
  const upgrader: Upgrader = new Upgrader({
    dataDir: config.dataDir,
    management,
    dataPlanes,
    open: (id) => openRelease(config.dataDir, id),
    release,
    state,
    log,
  });
  const stopped = new Promise<void>((resolve) => {
    if (options.signal.aborted) resolve();
    else options.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  try {
    let up: unknown = true;
    // One after the other: each chooses ports at its first start, and keeps them in one file.
    for (const dataPlane of dataPlanes) {
      if (up === undefined) break;
      dataPlane.start();
      up = await Promise.race([dataPlane.ready, failed, stopped]);
    }
    if (up !== undefined) {
      management.start();
      const info = await Promise.race([management.ready, failed, stopped]);
      if (info !== undefined) {
        options.onReady(info as unknown as ClusterReady);
        await stopped;
      }
    }
  } finally {
    upgrader.stop();
    // Management first: it finishes what it has told the data plane to do; then hosts are drained.
    await management.stop();
    await Promise.all(dataPlanes.map((dataPlane) => dataPlane.stop()));
    await upgrader.settled();
    unlock();
  }
}
