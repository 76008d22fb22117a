import { block } from './block.ts';
import type { Group } from './group.ts';

/** Every group, in the order of the report. */
export const groups: readonly Group[] = [block];
