import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onFaultPoint } from '@antipode/base';

/** Names a directory of orders to die; never set outside of the crash harness. */
export const faultPointsVariable = 'FAULT_POINTS_OF_ANTIPODE';

/** An order: a file named after the point. */
export interface FaultOrder {
  /** Passes of one process to let go by first. */
  readonly skip: number;
  /** Who dies: the process alone, or its whole group, which is the cluster, as when the power fails. */
  readonly whom: 'process' | 'cluster';
}

/**
 * Has this process kill itself at the points that the harness has written orders for. An order is carried out once: its file is
 * renamed to `NAME.hit` before, so that the process that is started next lives. Where the directory has another one named `passed`,
 * each point that is passed leaves an empty file of its name there. Without the variable nothing is armed. The harness may take an order
 * back at any moment by removing its file: the renaming decides who was first.
 */
export function armFaultPoints(environment: Readonly<Record<string, string | undefined>>): void {
  const directory = environment[faultPointsVariable];
  if (directory === undefined) return;
  const passed = join(directory, 'passed');
  const isAsked = existsSync(passed);
  const letBy = new Map<string, number>();
  onFaultPoint((name) => {
    const mark = join(passed, name);
    if (isAsked && !existsSync(mark)) writeFileSync(mark, '');
    const path = join(directory, name);
    const order = orderIn(path);
    if (order === undefined) return void letBy.delete(name);
    const before = letBy.get(name) ?? 0;
    if (before < order.skip) return void letBy.set(name, before + 1);
    try {
      renameSync(path, `${path}.hit`);
    } catch {
      return;
    }
    // Zero: every process of the caller's group.
    process.kill(order.whom === 'cluster' ? 0 : process.pid, 'SIGKILL');
  });
}

function orderIn(path: string): FaultOrder | undefined {
  try {
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as FaultOrder) : undefined;
  } catch {
    // Taken back, or not whole yet.
    return undefined;
  }
}
