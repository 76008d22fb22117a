import { type Client, ConnectionError, type ReplicationSession, type SessionFigures } from '@antipode/client';
import type { SiteName } from '../lab/layout.ts';
import type { HostVolume } from './volume-io.ts';

/** What of a client the drill uses. */
export type SiteClient = Pick<Client, 'get' | 'all' | 'first' | 'create' | 'modify' | 'remove' | 'action' | 'request'>;

/** One site of the lab as the drill uses it. */
export interface DrillSite {
  readonly name: SiteName;
  readonly client: SiteClient;
  /** Opens a volume over NBD by its name. */
  open(volume: string): Promise<HostVolume>;
}

export async function sessionAt(site: DrillSite, id: string): Promise<ReplicationSession> {
  return await site.client.get('replication_session', id);
}

/** A session's figures at one site; zeros for what that side does not know. */
export async function figuresAt(site: DrillSite, id: string): Promise<SessionFigures> {
  const { body } = await site.client.request('GET', `/api/antipode/v1/replication_sessions/${encodeURIComponent(id)}`);
  const given = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const number = (name: string): number => (typeof given[name] === 'number' ? given[name] : 0);
  return {
    shipped_bytes_total: number('shipped_bytes_total'),
    copied_bytes: number('copied_bytes'),
    remaining_bytes: number('remaining_bytes'),
    accumulated_bytes: number('accumulated_bytes'),
    lag_ms: typeof given.lag_ms === 'number' ? given.lag_ms : null,
  };
}

/** Whether an error says that a site cannot be reached just now: it is being started again. */
export const isAway = (error: unknown): boolean =>
  error instanceof ConnectionError || (error instanceof Error && 'status' in error && error.status === 503);
