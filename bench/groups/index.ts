import { block } from './block.ts';
import type { Group } from './group.ts';
import { replication } from './replication.ts';
import { snapshots } from './snapshots.ts';

/** Every group, in the order of the report. */
export const groups: readonly Group[] = [block, snapshots, replication];
