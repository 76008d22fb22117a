import { block } from './block.ts';
import type { Group } from './group.ts';
import { memory } from './memory.ts';
import { replication } from './replication.ts';
import { rest } from './rest.ts';
import { snapshots } from './snapshots.ts';
import { stages } from './stages.ts';

/** Every group, in the order of the report. */
export const groups: readonly Group[] = [block, snapshots, replication, rest, memory, stages];
