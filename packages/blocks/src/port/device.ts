import type { BlockError } from './errors.ts';

/** The unit of checksums, allocation and differences, bytes. */
export const BLOCK_BYTES = 4096;

/** What a host may do with an export now. Decided in the engine from role, seal and generation [C4.3]. */
export type Access = 'read_write' | 'read_only';

/** One run of equal state in the answer to "what is allocated". Offsets and lengths are bytes. */
export interface StatusExtent {
  readonly length: number;
  /** `data`: stored bytes; `hole`: never written, trimmed or zeroed; reads as zeros. */
  readonly kind: 'data' | 'hole';
}

/**
 * One addressable run of bytes: a volume's head (it follows restore, refresh, resize and, on a destination, the
 * replica), or a frozen point (read-only). Any offset and length within the size is legal: the device itself reads,
 * merges and writes where a request does not fill whole blocks.
 *
 * Ordering: an operation is ordered at the moment of the call, synchronously, before the function returns its promise.
 * Every function throws (or rejects with) a {@link BlockError}.
 */
export interface BlockDevice {
  /** Present size in bytes. */
  size(): number;
  access(): Access;
  /** Fills `target` from `offset`. Returns nothing when the bytes were at hand, else a promise. */
  read(offset: number, target: Uint8Array): void | Promise<void>;
  /**
   * Orders the write and resolves once it is readable and the process may die without losing it; with `fua`, once it is
   * on stable storage. `data` may be reused by the caller when the promise resolves (or at return, if none is returned).
   */
  write(offset: number, data: Uint8Array, fua: boolean): void | Promise<void>;
  /** Makes the range read as zeros. Whether it stays allocated is the engine's affair. */
  writeZeroes(offset: number, length: number, fua: boolean): void | Promise<void>;
  /** Gives the range back; it reads as zeros afterwards. */
  trim(offset: number, length: number, fua: boolean): void | Promise<void>;
  /** Resolves when everything completed before the call, on any device of the engine, is on stable storage [C9.5]. */
  flush(): Promise<void>;
  /** Allocation of `[offset, offset + length)`, merged runs in order, at most `limit` of them (the rest is not covered). */
  status(offset: number, length: number, limit: number): Promise<readonly StatusExtent[]>;
  /** Lets go of the device; operations after it fail with `closed`. */
  close(): void;
}
