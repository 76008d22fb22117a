/** Named limits of the embedded engine above its log, with the reason for each. */
export const engineLimits = {
  /** Payload of one data record: large writes are cut at this. */
  recordMost_bytes: 1024 * 1024,
  /** Clean index pages kept in memory (about 6 KiB each). */
  cachedPages: 4_096,
  /** Pages kept of what deep stacks of frozen layers come to (about 6 KiB each). */
  resolvedPages: 4_096,
  /** Layers in all stacks that are remembered (about 50 bytes each); the stacks of the images of a long history are the square of it. */
  cachedLinks: 1_000_000,
  /** Dirty index pages that start a checkpoint; at four times as many writers wait for it. */
  dirtyPages: 4_096,
  /** Log bytes since the last checkpoint that start one: bounds the scan at the next start. */
  checkpointEvery_bytes: 256 * 1024 * 1024,
  /** Longest extent of a difference, blocks; cut at multiples of it so that the order depends on content alone [C3.5]. */
  extentBlocks: 256,
  /** Layer pages folded or given up in one turn: half a millisecond or so, hosts come in between. */
  pagesATurn: 4,
  /** A segment with less than this share of live bytes is rewritten. */
  compactBelow: 0.3,
  /** Segments smaller than this are merged once there are so many of them: restarts and compaction leave them behind. */
  compactSmall_bytes: 1024 * 1024,
  compactSmallFrom: 4,
  /** Bytes copied by one compaction: what it holds in memory. */
  compactMost_bytes: 32 * 1024 * 1024,
  /**
   * A segment that is to be rewritten is left alone while in so long more than this share of it dies, as long as this keeps no more
   * than so much of the dead, and no less than this share of the file system is free.
   */
  waneFor_ms: 2_000,
  waneLeast: 1 / 64,
  waneMost_bytes: 1024 * 1024 * 1024,
  waneFree: 0.1,
  /** Blocks packed into one frame, at most; a read of one of them unpacks all. */
  packBlocks: 2,
  /** A frame is kept if it is no more than this share of what it holds. */
  packBelow: 0.75,
  /** A segment is packed if a sample says that at least this share of it is gained. */
  packGain: 0.1,
  /** A segment is cold when for so long no more than this share of it was overwritten, and no more than this share read. */
  packAfter_ms: 300_000,
  packWarm: 1 / 64,
  /** A packed segment is hot, and unpacked, when in that time so much of its content was unpacked for blocks of it. */
  packHot: 1 / 4,
  /** Content that is packed in one go: what of it is dead is found and given back in between only. */
  packMost_bytes: 64 * 1024 * 1024,
  /** Content between two rests. */
  packPiece_bytes: 256 * 1024,
  /** Rests are so many times as long as the piece before them took: while nothing else is going on, and while hosts work. */
  packRest: 1,
  packRestBusy: 15,
  /** How often segments are looked at for being cold. */
  packLook_ms: 30_000,
  /** Frames kept unpacked, for who reads one block after the other (16 KiB each). */
  cachedFrames: 64,
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
