import type { PolicyDocument, SessionDocument, VolumeDocument } from '../catalog/documents.ts';

/** What volumes and policies ask of replication. */
export interface ReplicationHooks {
  /** The session of a volume, if it has one. */
  sessionOf(volumeId: string): SessionDocument | undefined;
  /** A policy with a replication rule was assigned: the session exists when this resolves. Rejects with a RestError before anything has changed. */
  protect(volume: VolumeDocument, policy: PolicyDocument): Promise<void>;
  /** The policy was removed, or lost its replication rule: the session is gone when this resolves. */
  unprotect(volumeId: string): Promise<void>;
  /** Name or description changed at the source. */
  volumeChanged(volumeId: string): void;
  /** A replication rule was changed: its sessions follow. */
  ruleChanged(ruleId: string): void;
}
