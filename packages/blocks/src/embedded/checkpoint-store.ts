/**
 * The CheckpointStore port: ordered keys and values, replaceable by the simulator [C10.1]. Crash model: falls back to any
 * earlier committed state, never to a mixture. It never holds the only copy of anything.
 */
export interface CheckpointStore {
  /** Synchronous look-up in the last committed state. The result is the caller's. */
  get(key: Uint8Array): Uint8Array | undefined;
  /** Keys in order within `[from, to)`. */
  keys(from: Uint8Array, to: Uint8Array): Iterable<Uint8Array>;
  /** One atomic change; resolves when it is flushed to stable storage. */
  commit(changes: readonly { readonly key: Uint8Array; readonly value?: Uint8Array }[]): Promise<void>;
  close(): Promise<void>;
}
