/** Named limits of the data channel, with the reason for each. */
export const transferLimits = {
  /** Payload of one frame: large enough for the link and the log, small enough to pause soon. */
  frame_bytes: 1024 * 1024,
  /** Runs in one frame: many single blocks still make a frame of a few hundred KiB. */
  frameRuns: 512,
  /** A frame's header (JSON) and payload on the wire: more ends the connection. */
  headerMost_bytes: 4 * 1024 * 1024,
  payloadMost_bytes: 4 * 1024 * 1024,
  /** Characters of a plan's points in one message, and digests in one: both far below what a header may take. */
  planMessage_characters: 256 * 1024,
  provedMessage_digests: 4 * 1024,
  /** Points of a plan, and bytes of all messages that bring it: what the destination's log takes as one change. */
  planPoints: 16 * 1024,
  planMost_bytes: 16 * 1024 * 1024,
  /** A sync is asked for after this much at the latest, and on a slow link not before the lesser. */
  window_bytes: 8 * 1024 * 1024,
  windowLeast_bytes: 1024 * 1024,
  /** Most that is on its way above the durable address; less on a link that needs more than a second for it [C3.6]. */
  inFlight_bytes: 64 * 1024 * 1024,
  /** On its way before anything is known of the link, and what a slow one is given in any case. */
  inFlightStart_bytes: 16 * 1024 * 1024,
  inFlightLeast_bytes: 4 * 1024 * 1024,
  /** Acknowledgements by which the link's speed is judged. */
  paceSamples: 8,
  /** Bytes waiting in the socket before the reader waits: more is copied together by the stream below, for nothing. */
  socket_bytes: 2 * 1024 * 1024,
  /** Frames read ahead of the one that is being sent. */
  readAhead: 3,
  /** Buffers of a frame that each end of a connection keeps for the next ones. */
  spareBuffers: 8,
  /** Answers waiting for a peer that does not read them: more ends the connection. */
  unread_bytes: 16 * 1024 * 1024,
  /** Received and not yet given to the engine, before the socket is paused. */
  queue_bytes: 16 * 1024 * 1024,
  /** Handed from the thread that decrypts to the one that orders, and not given back: more waits in the queue above. */
  handed_bytes: 4 * 1024 * 1024,
  /** A sign of life is sent this often, and a link without one for this long is dead. */
  ping_ms: 3_000,
  silence_ms: 12_000,
  /** A peer that gives signs of life and no answer to what it was asked for this long hangs: the link is given up. */
  answer_ms: 120_000,
  /** A connection must be made and greeted within this. */
  connect_ms: 8_000,
  /** Progress is told at most this often. */
  progress_ms: 250,
  /** Pages shipped once more after a proof that does not match, at most [C8.4]. */
  repairPages: 256,
  /** Pages whose digests are compared in one question. */
  comparePages: 1024,
} as const;
