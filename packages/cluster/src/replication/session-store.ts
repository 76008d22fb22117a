import type { SessionId } from '@antipode/base';
import type { Half } from '@antipode/replication';
import type { Catalog } from '../catalog/catalog.ts';
import type { VolumeDocument, VolumeGroupDocument } from '../catalog/documents.ts';
import type { ResourceKind } from '../services/replication-hooks.ts';
import { sessionDocument } from './session-document.ts';

/** What a session is to this cluster besides its half. Kept in the catalog. */
export interface SessionRecord {
  readonly half: Half;
  readonly remoteSystemId: string;
  /** The rule that caused it, here; a destination holds the replica's id. */
  readonly ruleId: string | undefined;
  /** What the session is of; absent: a volume. */
  readonly resourceKind?: ResourceKind;
  /** The volume or group whose session it is. */
  readonly localResourceId: string;
  readonly remoteResourceId: string;
  /** Payload bytes put on the link by this side since the session began. */
  readonly shippedTotal_bytes: number;
}

/** The volume or group of a session, as the catalog has it here. */
export const resourceOf = (catalog: Catalog, record: SessionRecord): VolumeDocument | VolumeGroupDocument | undefined =>
  catalog.get(record.resourceKind ?? 'volume', record.localResourceId);

/** Where halves are kept: synchronous and durable when a call returns [C7.3]. */
export class SessionStore {
  readonly #catalog: Catalog;

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
  }

  load(): readonly SessionRecord[] {
    return (
      this.#catalog
        .list('replication_session')
        .map((row) => this.#catalog.private<SessionRecord>('replication_session', row.id))
        .filter((record) => record !== undefined)
        // Of a catalog from before halves had revisions.
        .map((record) => ({ ...record, half: { ...record.half, revision: record.half.revision ?? 0 } }))
    );
  }

  save(record: SessionRecord): void {
    this.#catalog.put('replication_session', sessionDocument(record), record);
  }

  remove(id: SessionId): void {
    this.#catalog.remove('replication_session', id);
  }
}
