/** The groups of the bench, in the order of its report. */
export const groupNames = ['block', 'snapshots', 'replication', 'rest', 'memory', 'stages'] as const;
export type GroupName = (typeof groupNames)[number];
