import { readFileSync } from 'node:fs';
import { Type } from 'typebox';
import { Value } from 'typebox/value';
import type { IoLimit } from '../local/api.ts';
import { writeDurably } from '../supervisor/write-durably.ts';

const Kept = Type.Array(
  Type.Object({
    id: Type.String(),
    volumes: Type.Array(Type.String()),
    rate: Type.Object({
      operations_per_s: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
      bytes_per_s: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
      burst_percentage: Type.Number({ minimum: 0 }),
    }),
  }),
);

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
      return Value.Parse(Kept, JSON.parse(this.#kept)) as readonly IoLimit[];
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

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '[]';
  }
}
