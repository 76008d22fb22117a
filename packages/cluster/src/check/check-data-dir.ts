import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CheckProgress, type CheckReport, checkDirectory } from '@antipode/blocks';
import { lockDataDir, places } from '../supervisor/data-dir.ts';
import { type CatalogReport, compareCatalog } from './compare-catalog.ts';

export interface ApplianceReport extends CheckReport {
  readonly id: string;
  /** The index was removed, as asked: the next start makes it anew. */
  readonly index_dropped: boolean;
}

/** What was found in a cluster's data directory. */
export interface DataDirReport {
  readonly clean: boolean;
  readonly appliances: readonly ApplianceReport[];
  readonly catalog: CatalogReport;
}

/**
 * Checks the data directory of a cluster that does not run, and keeps it from starting meanwhile. Changes nothing, but for
 * `dropIndex`: then an index is removed where the log beside it is whole, so that nothing is lost by it.
 * @throws DataDirInUse when a cluster runs on it; errors of the file system when it cannot be read.
 */
export async function checkDataDir(options: {
  readonly dataDir: string;
  readonly dropIndex?: boolean;
  readonly progress?: (appliance: string, progress: CheckProgress) => void;
}): Promise<DataDirReport> {
  const { dataDir, dropIndex = false, progress = () => undefined } = options;
  const unlock = await lockAll(dataDir);
  const scratch = mkdtempSync(join(tmpdir(), 'antipode-fsck-'));
  try {
    const appliances: ApplianceReport[] = [];
    for (const id of readdirSync(join(dataDir, 'appliances')).sort()) {
      const directory = places(dataDir).appliance(id);
      const report = await checkDirectory({
        directory,
        scratch: join(scratch, id),
        progress: (now) => progress(id, now),
      });
      const index = join(directory, 'index');
      const index_dropped = dropIndex && existsSync(index) && isLogWhole(report);
      if (index_dropped) rmSync(index, { recursive: true });
      appliances.push({ id, ...report, index_dropped });
    }
    const catalog = compareCatalog(places(dataDir).catalog, scratch, appliances);
    const clean = appliances.every(isClean) && catalog.findings.length === 0;
    return { clean, appliances, catalog };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
    unlock();
  }
}

/** The cluster does not run, and nothing that a killed one left does. */
async function lockAll(dataDir: string): Promise<() => void> {
  const parts = readdirSync(join(dataDir, 'appliances')).map((id) => places(dataDir).appliance(id));
  const locks: (() => void)[] = [];
  const unlock = (): void => {
    for (const release of locks) release();
  };
  try {
    for (const part of [dataDir, places(dataDir).catalog, ...parts]) locks.push(await lockDataDir(dataDir, part));
    return unlock;
  } catch (error) {
    unlock();
    throw error;
  }
}

/** Everything that the index says can be read from the log again. */
const isLogWhole = ({ damages, graph, index }: CheckReport): boolean =>
  damages.length === 0 && graph.length === 0 && index.state !== 'ahead';

function isClean(report: ApplianceReport): boolean {
  const indexIsFine = ['absent', 'void', 'agrees'].includes(report.index.state) || report.index_dropped;
  return report.damages.length === 0 && report.graph.length === 0 && indexIsFine;
}
