import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { CheckProgress } from '@antipode/blocks';
import { checkDataDir, DataDirInUse, type DataDirReport } from '@antipode/cluster';
import { ProgressBar } from '../drill/progress-bar.ts';
import { commandHelp } from '../options/help.ts';
import { showSize } from '../options/parsers.ts';
import { readOptions } from '../options/read.ts';
import { fsckOptions } from '../options/tables.ts';
import { UsageError } from '../options/usage-error.ts';
import type { Command } from './context.ts';
import { damageLines } from './damage-lines.ts';

const titles: Readonly<Record<CheckProgress['doing'], string>> = {
  records: 'reading the log',
  index: 'making the index anew',
  comparison: 'comparing the index',
};

/** Checks a cluster that does not run. Exit codes: 0 clean, 1 damage, 2 it could not be checked. */
export const fsck: Command = async (context) => {
  const { values, help } = readOptions(fsckOptions, context);
  if (help) {
    context.out(commandHelp('fsck'));
    return 0;
  }
  const { data, dropIndex, json } = values;
  if (data === undefined) throw new UsageError('--data is required: the directory of the cluster');
  if (!existsSync(join(data, 'appliances'))) throw new UsageError(`${data} is no directory of a cluster`);
  const bar = new ProgressBar(context.err, context.isTerminal && !json);
  let doing: string | undefined;
  const progress = (appliance: string, now: CheckProgress) => {
    const title = `${appliance}: ${titles[now.doing]}`;
    if (title !== doing) bar.begin(title);
    doing = title;
    bar.show(now.of === 0 ? 1 : now.done / now.of, now.doing === 'records' ? showSize(now.done) : '');
  };
  let report: DataDirReport;
  try {
    report = await checkDataDir({ dataDir: data, dropIndex, progress });
  } catch (error) {
    if (error instanceof DataDirInUse)
      throw new UsageError(`${error.message}: stop the cluster, or have it verify itself with "antipode scrub"`);
    // What kept the check from its end is not damage that it found.
    throw new UsageError(`${data} could not be checked: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    bar.clear();
  }
  context.out(json ? `${JSON.stringify(report)}\n` : showReport(report, dropIndex));
  return report.clean ? 0 : 1;
};

function showReport({ clean, appliances, catalog }: DataDirReport, dropIndex: boolean): string {
  const lines: string[] = [];
  for (const appliance of appliances) {
    const { id, segments, records, verified_bytes, volumes, damages, index, graph } = appliance;
    lines.push(
      `appliance ${id}: ${volumes.length} volumes, ${segments} segments, ${records} records, ${showSize(verified_bytes)} verified`,
    );
    lines.push(...damages.flatMap(damageLines));
    lines.push(...graph.map((rule) => `  graph: ${rule}`));
    lines.push(`  index ${index.state}: ${index.detail}`);
    lines.push(...index.differences.flatMap(damageLines));
    if (appliance.index_dropped) lines.push('  index removed: the next start makes it anew from the log');
    else if (dropIndex) lines.push('  index kept: the log is damaged, or there is none');
    else if (['unreadable', 'disagrees'].includes(index.state) && damages.length === 0)
      lines.push('  the log is whole: --drop-index has the next start make the index anew from it');
  }
  lines.push(`catalog ${catalog.state}: ${catalog.volumes} volumes, ${catalog.snapshots} snapshots`);
  lines.push(...catalog.findings.map((text) => `  ${text}`), ...catalog.notes.map((text) => `  note: ${text}`));
  lines.push(clean ? 'clean' : 'damage was found');
  return `${lines.join('\n')}\n`;
}
