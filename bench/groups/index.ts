import { block } from './block.ts';
import type { Group } from './group.ts';
import { housekeeping } from './housekeeping.ts';
import { memory } from './memory.ts';
import type { GroupName } from './names.ts';
import { replication } from './replication.ts';
import { rest } from './rest.ts';
import { snapshots } from './snapshots.ts';
import { stages } from './stages.ts';

/** Every group, by its name. */
export const groups: Readonly<Record<GroupName, Group>> = {
  block,
  snapshots,
  replication,
  rest,
  memory,
  housekeeping,
  stages,
};
