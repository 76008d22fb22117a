import type { LinkState } from './link/link.ts';

/** What may be asked of a running lab: one JSON object a line, answered by one line. */
export type ControlRequest =
  | { readonly ask: 'status' }
  | { readonly ask: 'link'; readonly cut?: boolean; readonly rate_bps?: number | null; readonly delay_ms?: number }
  | { readonly ask: 'kill'; readonly site: string };

export interface SiteStatus {
  readonly name: string;
  readonly url: string;
  readonly nbd: string;
  readonly username: string;
  readonly state: 'starting' | 'ready' | 'down';
  readonly pid: number | null;
  readonly restarts: number;
}

export interface LabStatus {
  /** Both sites have been up and are paired. */
  readonly ready: boolean;
  readonly sites: readonly SiteStatus[];
  /** How many times as fast as real time dates and schedules pass. */
  readonly clock_rate: number;
  readonly link: LinkState;
}

export type ControlAnswer =
  | { readonly ok: true; readonly status: LabStatus }
  | { readonly ok: false; readonly message: string };

/** Reads a request off the socket; undefined for anything that is none. */
export function parseControlRequest(line: string): ControlRequest | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { ask, cut, rate_bps, delay_ms, site } = value as Record<string, unknown>;
  if (ask === 'status') return { ask };
  if (ask === 'kill') return typeof site === 'string' ? { ask, site } : undefined;
  if (ask !== 'link') return undefined;
  if (cut !== undefined && typeof cut !== 'boolean') return undefined;
  if (rate_bps !== undefined && rate_bps !== null && !isPositive(rate_bps, 1e12)) return undefined;
  if (delay_ms !== undefined && delay_ms !== 0 && !isPositive(delay_ms, 10_000)) return undefined;
  return {
    ask,
    ...(cut === undefined ? {} : { cut }),
    ...(rate_bps === undefined ? {} : { rate_bps: rate_bps as number | null }),
    ...(delay_ms === undefined ? {} : { delay_ms: delay_ms as number }),
  };
}

const isPositive = (value: unknown, most: number): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value > 0 && value <= most;
