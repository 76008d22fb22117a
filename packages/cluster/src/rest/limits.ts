/** Named limits of the REST interface, with the reason for each. */
export const restLimits = {
  /** Largest request body: the longest legal one is a few KiB. */
  body_bytes: 1024 * 1024,
  /** A connection that says nothing for this long is closed; planned failovers keep theirs busy much longer. */
  connection_ms: 0,
  /** A request must have arrived whole within this: slow senders do not hold connections. */
  request_ms: 30_000,
  keepAlive_ms: 75_000,
  /** Rows of tables that only grow. */
  jobs: 10_000,
  events: 10_000,
  audits: 20_000,
} as const;
