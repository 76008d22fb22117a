/** Named limits of the client. */
export const limits = {
  /** Items asked for in one page: the most that the interface gives. */
  pageMost_items: 2_000,
  /** A connection attempt that takes longer than this has failed. */
  connect_ms: 10_000,
  /** An answer whose first byte takes longer than this does not come: longest synchronous action, with room. */
  answer_ms: 300_000,
  /** Answers larger than this are refused: 2,000 items of 16 KiB and room. */
  answerMost_bytes: 64 * 1024 * 1024,
  /** Longest text of a peer that is quoted in an error. */
  quotedMost_characters: 300,
  /** A job is asked for at this pace: quickly at first, then more slowly. */
  jobPollFirst_ms: 50,
  jobPollMost_ms: 2_000,
  /** A job that takes longer than this is given up, unless the caller says otherwise. */
  jobMost_ms: 3_600_000,
} as const;
