/** Named limits of the command line, its lab and its drill. */
export const limits = {
  /** A cluster that has not said that it is ready within this does not start: far more than a slow and busy machine takes. */
  siteStart_ms: 180_000,
  /** A cluster that does not stop by itself within this is killed: longer than its own bound for its processes. */
  siteStop_ms: 45_000,
  /** Pauses before a cluster that died is started again: at once at first, never a busy loop. */
  restartFirst_ms: 100,
  restartMost_ms: 5_000,
  /** A cluster that ran this long has recovered: its next restart is quick again. */
  settled_ms: 30_000,
  /** Bytes that one connection of the link holds for one direction: bounds memory, and is a long fat link's window. */
  linkWindow_bytes: 4 * 1024 * 1024,
  /** Length of a burst that a rate limit lets pass after a pause. */
  linkBurst_ms: 5,
  /** Longest line on the lab's control socket. */
  controlLine_bytes: 64 * 1024,
  /** Answer time of a running lab. */
  control_ms: 10_000,
  /** Longest path of a Unix socket that every system takes. */
  socketPath_bytes: 103,
  /** A log file larger than this is set aside when the lab starts. */
  logKept_bytes: 16 * 1024 * 1024,
  /** Ports of one lab. */
  labPorts: 20,
  /** Blocks of ports tried when none was named. */
  labPortBlocks: 50,
  /** Pairing waits this long for both sides to see each other. */
  pairing_ms: 120_000,
  /** A session that does not reach the state waited for within this has failed the step. */
  stateWait_ms: 180_000,
  /** A synchronization moves at least this fast, or the drill gives up. */
  syncLeast_bytes_per_s: 1024 * 1024,
  /** Pace of asking for a state. */
  poll_ms: 100,
  /** Bytes of one read or write over NBD. */
  transfer_bytes: 1024 * 1024,
  /** A password file is one line. */
  passwordFileMost_bytes: 4096,
} as const;
