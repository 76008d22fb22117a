import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onFaultPoint } from '@antipode/base';

/** Names a directory of orders to die; never set outside of the crash harness. */
export const faultPointsVariable = 'FAULT_POINTS_OF_ANTIPODE';

/** An order: a file named after the point. */
export interface FaultOrder {
  /** Passes to let go by first. */
  readonly skip: number;
  /** Who dies: the process alone, or its whole group, which is the cluster, as when the power fails. */
  readonly whom: 'process' | 'cluster';
}

/**
 * Has this process kill itself at the points that the harness has written orders for. An order is carried out once: its file is
 * renamed to `NAME.hit` before, so that the process that is started next lives. Where the directory has another one named `passed`,
 * each point that is passed leaves an empty file of its name there. Without the variable nothing is armed.
 */
export function armFaultPoints(environment: Readonly<Record<string, string | undefined>>): void {
  const directory = environment[faultPointsVariable];
  if (directory === undefined) return;
  const passed = join(directory, 'passed');
  const isAsked = existsSync(passed);
  onFaultPoint((name) => {
    const mark = join(passed, name);
    if (isAsked && !existsSync(mark)) writeFileSync(mark, '');
    const path = join(directory, name);
    if (!existsSync(path)) return;
    const { skip, whom } = JSON.parse(readFileSync(path, 'utf8')) as FaultOrder;
    if (skip > 0) return writeFileSync(path, JSON.stringify({ skip: skip - 1, whom }));
    renameSync(path, `${path}.hit`);
    // Zero: every process of the caller's group.
    process.kill(whom === 'cluster' ? 0 : process.pid, 'SIGKILL');
  });
}
