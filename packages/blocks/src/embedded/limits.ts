/** Named limits of the embedded engine above its log, with the reason for each. */
export const engineLimits = {
  /** Payload of one data record: large writes are cut at this. */
  recordMost_bytes: 1024 * 1024,
  /** Clean index pages kept in memory (about 6 KiB each). */
  cachedPages: 4_096,
  /** Pages kept of what deep stacks of frozen layers come to (about 6 KiB each). */
  resolvedPages: 4_096,
  /** Dirty index pages that start a checkpoint; at four times as many writers wait for it. */
  dirtyPages: 4_096,
  /** Log bytes since the last checkpoint that start one: bounds the scan at the next start. */
  checkpointEvery_bytes: 256 * 1024 * 1024,
  /** Longest extent of a difference, blocks; cut at multiples of it so that the order depends on content alone [C3.5]. */
  extentBlocks: 256,
  /** Layer pages folded or given up in one turn: a millisecond or so. */
  pagesATurn: 16,
  /** A segment with less than this share of live bytes is rewritten. */
  compactBelow: 0.3,
  /** Segments smaller than this are merged once there are so many of them: restarts and compaction leave them behind. */
  compactSmall_bytes: 1024 * 1024,
  compactSmallFrom: 4,
  /** Bytes copied by one compaction: what it holds in memory. */
  compactMost_bytes: 32 * 1024 * 1024,
  /** Smallest and largest volume, and the unit of its size, bytes. */
  volumeLeast_bytes: 1024 * 1024,
  volumeMost_bytes: 256 * 1024 ** 4,
  volumeUnit_bytes: 8192,
  /** Events kept until somebody listens: what a start found. */
  unheardEvents: 64,
  /** Refused proposals that a half remembers. */
  refusedProposals: 16,
} as const;

export type EngineLimits = { readonly [K in keyof typeof engineLimits]: number };
