/** Named limits of the replication driver and the management channel, with the reason for each. */
export const driverLimits = {
  /** Longest that a verb's caller is kept waiting; the operation itself goes on. Planned failovers of large changes take long. */
  verb_ms: 6 * 3_600_000,
  /** A verb whose end is the peer's to say is answered after this, though it goes on: a failover in doubt lasts as long as the peer is away. */
  peerDecides_ms: 60_000,
  /** Longest that a peer's verb waits for what it set in motion: below the peer's own time limit for an answer. */
  peerVerb_ms: 20_000,
  /** Longest that an upgrade or a migration waits for what a session has under way, and then for its peer to hear of it. */
  suspend_ms: 60_000,
  suspensionTold_ms: 10_000,
  /** A change of members or sizes waits this long for a failover to be decided; one that is in doubt then is not waited for. */
  decision_ms: 20_000,
  /** Pause before the same step is tried again at once, doubling up to the second figure. */
  repeatFirst_ms: 200,
  repeatMost_ms: 5_000,
  /** Bounds of the alarm clock: never busy, and at least once an hour in case the wall clock was moved. */
  alarmLeast_ms: 10,
  alarmMost_ms: 3_600_000,
  /** An answer on the management channel is given up after this; longer than `peerVerb_ms`. */
  peerAnswer_ms: 25_000,
  /** A heartbeat is given up after this. */
  heartbeatAnswer_ms: 4_000,
  /** Heartbeats missed in a row before the link counts as lost. */
  heartbeatsMissed: 2,
  /** Largest message body on the management channel. */
  peerMessage_bytes: 4 * 1024 * 1024,
  /** Snapshots that a view names, newest first: more than a cycle ships. */
  snapshotsTold: 16_384,
  /**
   * A cycle's plan is one change of the log, which takes 16 MiB: what pairs, points besides their tags, and a point's sizes and layers
   * take of it, generously, because a snapshot may be given a longer name before it is shipped.
   */
  plan_bytes: 12 * 1024 * 1024,
  planPair_bytes: 160,
  planPoint_bytes: 1024,
  planSize_bytes: 26,
  /** Snapshots of a cycle, however little they take: with the target, what the data channel takes. */
  planPoints: 16_383,
  /** Calls to the data plane that a step has under way at one time. */
  askedTogether: 64,
  /** How long what an old source held beyond the common base, or a failover test has written, is kept as a snapshot [C2.4]. */
  kept_ms: 7 * 86_400_000,
  /** Completed cycles kept for each session: a day of the shortest objective. */
  cyclesKept: 360,
  /** How often objectives are looked at: an alert comes no later than this after its moment. */
  complianceEvery_ms: 10_000,
  /** Sessions of one peer that are told of one by one when an outage parks them; the others are one alert. */
  parkedTold: 8,
  /** A change of a policy that its copy could not be told of is told again after this. */
  policyAgain_ms: 10_000,
  /** A session that was given up while it began, and could not be removed at both sides, is removed again after this. */
  undoAgain_ms: 5_000,
  /** Sessions given up by their sources that are remembered, for offers that come after it. */
  withdrawnKept: 1_024,
  /** Every how many heartbeats the data connection is tried as well. */
  probeEvery: 5,
} as const;
