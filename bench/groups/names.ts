/** The groups of the bench, in the order of its report. */
export const groupNames = ['block', 'snapshots', 'replication', 'rest', 'memory', 'housekeeping', 'stages'] as const;
export type GroupName = (typeof groupNames)[number];

/** All groups of a quick run together take this long, however busy the machine is: rounds, cells and groups that do not fit are left out. */
export const quick_ms = 170_000;
const quickShares: Readonly<Record<GroupName, number>> = {
  block: 0.35,
  snapshots: 0.16,
  replication: 0.18,
  rest: 0.08,
  memory: 0.1,
  housekeeping: 0.1,
  stages: 0.03,
};

/** A group of a quick run does not begin with less than this. */
export const quickLeast_ms = 8_000;

/** The part of the time that is left which the first of the groups that are left may take. */
export function quickTime_ms(left: readonly GroupName[], left_ms: number): number {
  const [first] = left;
  if (first === undefined) return 0;
  return (left_ms * quickShares[first]) / left.reduce((total, name) => total + quickShares[name], 0);
}
