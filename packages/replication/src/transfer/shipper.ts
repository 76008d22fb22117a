import type { Clock, SessionId } from '@antipode/base';
import { type BlockEngine, isBlockError } from '@antipode/blocks';
import { connectLink } from './connect-link.ts';
import { type Links, Untrusted } from './link.ts';
import { LinkLost } from './link-lost.ts';
import type { RefusalCode } from './protocol.ts';
import { Shipment, ShipRefused } from './shipment.ts';
import type { PeerEndpoint, ShipFailure, ShipOrder, ShipOutcome, ShipProgress } from './types.ts';

export interface ShipperOptions {
  readonly engine: BlockEngine;
  readonly links: Links;
  readonly clock: Clock;
  readonly localSerial: string;
}

export interface Shipper {
  /** Ships one cycle; resolves at its end, whatever that is. A second call for the same cycle joins the first. */
  ship(order: ShipOrder, onProgress?: (progress: ShipProgress) => void): Promise<ShipOutcome>;
  /** Stops at the next window; resolves when nothing of it is running. */
  cancel(session: SessionId): Promise<void>;
  progress(session: SessionId): ShipProgress | undefined;
  /** Connects, greets and closes; the time it took, ms. */
  probe(peer: PeerEndpoint): Promise<number>;
}

/** The sending end of the data channel. */
export function createShipper(options: ShipperOptions): Shipper {
  const running = new Map<
    SessionId,
    { readonly key: string; readonly shipment: Shipment; readonly outcome: Promise<ShipOutcome> }
  >();
  return {
    async ship(order, onProgress) {
      const { session, cycle } = order.plan;
      const key = `${cycle}:${order.end}`;
      // Others may have waited for the same end: the last one asked for stays.
      for (let known = running.get(session); known !== undefined; known = running.get(session)) {
        if (known.key === key) return known.outcome;
        known.shipment.cancel();
        await known.outcome;
      }
      const shipment = new Shipment(options, order, onProgress);
      const outcome = attempt(shipment, options, order).finally(() => running.delete(session));
      running.set(session, { key, shipment, outcome });
      return outcome;
    },
    async cancel(session) {
      const entry = running.get(session);
      entry?.shipment.cancel();
      await entry?.outcome;
    },
    progress: (session) => running.get(session)?.shipment.progress,
    async probe(peer) {
      const start = options.clock.monotonic();
      const link = await connectLink(options.links, peer, options.localSerial, options.clock);
      await link.end();
      return options.clock.monotonic() - start;
    },
  };
}

async function attempt(shipment: Shipment, options: ShipperOptions, order: ShipOrder): Promise<ShipOutcome> {
  try {
    const link = await connectLink(options.links, order.peer, options.localSerial, options.clock, shipment.signal);
    try {
      return { kind: 'done', digests: await shipment.run(link), progress: shipment.progress };
    } finally {
      link.close();
    }
  } catch (error) {
    return { kind: 'failed', failure: failureOf(error, shipment), progress: shipment.progress };
  }
}

function failureOf(error: unknown, shipment: Shipment): ShipFailure {
  if (shipment.signal.aborted) return { code: 'cancelled', message: 'the cycle was stopped', retry: true };
  if (error instanceof ShipRefused) return { ...(refusals[error.code] ?? newerRefusal), message: error.message };
  if (error instanceof Untrusted) return { code: 'peer_untrusted', message: error.message, retry: false };
  if (error instanceof LinkLost) return { code: 'link_lost', message: error.message, retry: true };
  if (isBlockError(error)) return { code: 'source_damaged', message: error.message, retry: error.code === 'io_error' };
  return { code: 'internal', message: error instanceof Error ? error.message : String(error), retry: true };
}

/** A word that only a newer peer knows. */
const newerRefusal = { code: 'internal', retry: true } as const;

const refusals: Readonly<
  Record<RefusalCode | 'proof_mismatch', { readonly code: ShipFailure['code']; readonly retry: boolean }>
> = {
  protocol_mismatch: { code: 'protocol_mismatch', retry: false },
  peer_paused: { code: 'peer_paused', retry: true },
  peer_suspended: { code: 'peer_suspended', retry: true },
  peer_not_ready: { code: 'peer_not_ready', retry: true },
  session_unknown: { code: 'session_unknown', retry: true },
  stale_generation: { code: 'stale_generation', retry: true },
  base_mismatch: { code: 'base_mismatch', retry: true },
  no_space: { code: 'peer_no_space', retry: true },
  io_error: { code: 'peer_io_error', retry: true },
  staged_damage: { code: 'proof_mismatch', retry: true },
  bad_message: { code: 'internal', retry: true },
  proof_mismatch: { code: 'proof_mismatch', retry: false },
};
