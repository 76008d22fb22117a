/** The groups of the bench, in the order of its report. */
export const groupNames = ['block', 'snapshots', 'replication', 'rest', 'memory', 'stages'] as const;
export type GroupName = (typeof groupNames)[number];

/** All groups of a quick run together take this long, however busy the machine is: rounds that would not fit are left out. */
const quick_ms = 170_000;
const quickShares: Readonly<Record<GroupName, number>> = {
  block: 0.4,
  snapshots: 0.18,
  replication: 0.2,
  rest: 0.09,
  memory: 0.1,
  stages: 0.03,
};

/** How long a group of a quick run may take, when it is one of these. */
export const quickTime_ms = (group: GroupName, among: readonly GroupName[]): number =>
  (quick_ms * quickShares[group]) / among.reduce((total, name) => total + quickShares[name], 0);
