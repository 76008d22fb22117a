/** The ports through which code meets time and chance. Production passes the system's; the simulator passes its own. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall-clock time, milliseconds since 1970-01-01T00:00Z. May jump. */
  now(): number;
  /** Milliseconds on a clock that never goes back. */
  monotonic(): number;
  /** Calls `callback` once after `delay_ms`; the timer does not keep the process alive. */
  after(delay_ms: number, callback: () => void): Timer;
  /** Resolves after `delay_ms`, or rejects with the signal's reason when it is aborted first. */
  sleep(delay_ms: number, signal?: AbortSignal): Promise<void>;
}

export interface Random {
  /** A fresh random UUID, version 4. */
  uuid(): string;
  /** `length` random bytes fit for keys. */
  bytes(length: number): Uint8Array;
  /** A number in [0, 1). */
  fraction(): number;
}
