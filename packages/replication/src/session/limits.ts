/** Named limits of a session, with the reason for each. */
export const sessionLimits = {
  /** A planned failover stops hosts when no more than this is left to ship: a second or two of an ordinary link. */
  sealBelow_bytes: 64 * 1024 * 1024,
  /** Cycles a planned failover runs before it seals in any case: hosts that write faster than the link must not hold it up [C4.2a]. */
  catchUpRounds: 3,
  /** First wait after a fault that contact alone does not clear. */
  retryFirst_ms: 1_000,
  /** Longest wait between two attempts. */
  retryMost_ms: 60_000,
  /** Part of the RPO after which the next cycle starts at the latest (REPLICATION A7). */
  rpoShare: 0.8,
  /** The same for starts by the wall clock. */
  wallClockShare: 0.5,
  /** Part of the RPO by which a start may be late before its session counts as brought into step with others. */
  lateShare: 0.1,
} as const;
