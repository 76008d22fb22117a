/** Named limits of scheduled snapshots, with the reason for each. */
export const snapshotRuleLimits = {
  /** Snapshots that rules take in a second: a thousand volumes of one rule are done in under a minute, and hosts do not feel it. */
  perSecond: 20,
  /** How often rules are looked at when nothing is due: the wall clock may be moved. */
  lookMost_ms: 10_000,
  /** How often expired snapshots are looked for. */
  expireEvery_ms: 30_000,
  /** Missed runs are counted up to this: an event says how many they were. */
  missedCounted: 1_000,
} as const;
