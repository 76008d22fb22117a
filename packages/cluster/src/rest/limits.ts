/** Named limits of the REST interface, with the reason for each. */
export const restLimits = {
  /** Largest request body: the longest legal one is a few KiB. */
  body_bytes: 1024 * 1024,
  /** A connection that says nothing for this long is closed; planned failovers keep theirs busy much longer. */
  connection_ms: 0,
  /** A request must have arrived whole within this: slow senders do not hold connections. */
  request_ms: 30_000,
  /** How often those that have not are looked for. */
  lookAtSlow_ms: 5_000,
  keepAlive_ms: 75_000,
  /** Largest file: a dozen times what a release has. */
  upload_bytes: 512 * 1024 * 1024,
  /** An upload of which nothing arrives for this long is given up. */
  uploadStall_ms: 30_000,
  /** Bytes of a request's headers; one more than this is 431. */
  headers_bytes: 16_384,
  /** Connections at once: beyond them new ones are closed. */
  connections: 2_000,
  /** Conditions in one query, groups included: the database takes no expression deeper than a thousand. */
  conditions: 200,
  /** Values in one list of `in`, `cs` or `cd`. */
  listed: 1_000,
  /** Attributes to order by. */
  orders: 20,
  /** Associations within associations. */
  selectDepth: 3,
  /** Rows in one answer, counted as often as they are repeated: some 100 MB at the worst. */
  rows: 100_000,
  /** Rows of tables that only grow. */
  jobs: 10_000,
  events: 10_000,
  /** Of these, alerts that are over; those that are not are kept in any case. */
  alerts: 10_000,
  audits: 20_000,
} as const;
