import { readFileSync } from 'node:fs';
import type { IoLimit } from '../local/api.ts';
import { writeDurably } from '../supervisor/write-durably.ts';

/**
 * The rates that a data plane was told last, in a file beside its log: they hold from its start on, before management is there to say
 * them again. What cannot be read or kept is left to management.
 */
export class KeptLimits {
  readonly #path: string;
  #kept: string;

  constructor(path: string) {
    this.#path = path;
    this.#kept = read(path);
  }

  load(): readonly IoLimit[] {
    try {
      const found: unknown = JSON.parse(this.#kept);
      return Array.isArray(found) && found.every(isLimit) ? found : [];
    } catch {
      return [];
    }
  }

  keep(limits: readonly IoLimit[]): void {
    const text = JSON.stringify(limits);
    if (text === this.#kept) return;
    try {
      writeDurably(this.#path, text);
      this.#kept = text;
    } catch {
      // The medium takes nothing now: what was kept before holds at the next start, until management says more.
    }
  }
}

/** By hand: with a library for it a data plane would load twice as much at its start, and hosts wait for that. */
function isLimit(value: unknown): value is IoLimit {
  const { id, volumes, rate } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof id !== 'string' || !Array.isArray(volumes) || typeof rate !== 'object' || rate === null) return false;
  const { operations_per_s, bytes_per_s, burst_percentage } = rate as Readonly<Record<string, unknown>>;
  const isBound = (bound: unknown) => bound === undefined || (typeof bound === 'number' && bound > 0);
  return (
    volumes.every((volume) => typeof volume === 'string') &&
    isBound(operations_per_s) &&
    isBound(bytes_per_s) &&
    typeof burst_percentage === 'number' &&
    burst_percentage >= 0
  );
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '[]';
  }
}
