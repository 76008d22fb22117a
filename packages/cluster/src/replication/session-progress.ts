import type { Clock, SessionId } from '@antipode/base';
import { nextStart_ms } from '@antipode/replication';
import type { Catalog } from '../catalog/catalog.ts';
import { timestamp } from '../catalog/documents.ts';
import type { RemoteSystems } from './remote-systems.ts';
import type { SessionMonitor } from './session-monitor.ts';
import type { SessionRecord } from './session-store.ts';

/** Hears how far something is, in percent. */
export type Progress = (percent: number) => void;

export interface SessionProgressDeps {
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly remotes: Pick<RemoteSystems, 'state'>;
  readonly monitor: SessionMonitor;
}

/** What passes of a session, as REST shows it: how far its copying is, when the next is due, whether its link is there. */
export class SessionProgress {
  readonly #deps: SessionProgressDeps;
  /** Commands under way that tell how far their session's copying is. */
  readonly #followers = new Map<SessionId, Set<Progress>>();

  constructor(deps: SessionProgressDeps) {
    this.#deps = deps;
  }

  /** `progress` hears of a session's copying until the answer is called. */
  follow(session: SessionId, progress: Progress): () => void {
    let furthest = 0;
    const follower: Progress = (percent) => {
      // A failover catches up in several cycles; none of them is the end of it.
      furthest = Math.max(furthest, Math.min(percent, 99));
      progress(furthest);
    };
    const followers = this.#followers.get(session) ?? new Set();
    this.#followers.set(session, followers.add(follower));
    return () => {
      followers.delete(follower);
      if (followers.size === 0) this.#followers.delete(session);
    };
  }

  /** The cycle under way has copied so much. */
  show(record: SessionRecord, progress: { readonly total_bytes: number; readonly copied_bytes: number }): void {
    const { catalog, clock, monitor } = this.#deps;
    const { half } = record;
    const { total_bytes, copied_bytes } = progress;
    const share = total_bytes === 0 ? 1 : copied_bytes / total_bytes;
    const started = half.cycle?.started_ms ?? clock.now();
    const elapsed = clock.now() - started;
    monitor.progress(half.id, progress);
    for (const follower of this.#followers.get(half.id) ?? []) follower(share * 100);
    catalog.live('replication_session', half.id, {
      ...this.#linkFields(record),
      progress_percentage: Math.floor(share * 100),
      estimated_completion_timestamp: share > 0 && share < 1 ? timestamp(started + elapsed / share) : null,
    });
  }

  /** Nothing is being copied, or what was told before belonged to another cycle. */
  stands(record: SessionRecord): void {
    this.#deps.catalog.live('replication_session', record.half.id, this.#linkFields(record));
  }

  #linkFields({ half, remoteSystemId }: SessionRecord) {
    const state = this.#deps.remotes.state(remoteSystemId);
    const due = half.state === 'OK' || half.state === 'Synchronizing' ? nextStart_ms(half) : undefined;
    return {
      // Overdue or in line: from now on at any moment.
      ...(due !== undefined && { next_sync_timestamp: timestamp(Math.max(due, this.#deps.clock.now())) }),
      data_connection_state: state?.up !== true || state.data === 'lost' ? 'Complete_Data_Connection_Loss' : 'OK',
    };
  }
}
