import type { PolicyDocument, SessionDocument, VolumeDocument } from '../catalog/documents.ts';
import type { Assignee } from './assignments.ts';

export type ResourceKind = 'volume' | 'volume_group';

/** What volumes, groups and policies ask of replication. */
export interface ReplicationHooks {
  /** The session of a volume or group, if it has one of its own. */
  sessionOf(resource: string): SessionDocument | undefined;
  /** A policy with a replication rule was assigned: the session exists when this resolves. Rejects with a RestError before anything has changed. */
  protect(target: Assignee, policy: PolicyDocument): Promise<void>;
  /** A session that is there without a rule, because an older catalog did not know it, goes on under this one. False: there is none that could. */
  goOnUnder(resource: string, ruleId: string): boolean;
  /** The policy was removed, or lost its replication rule: the session is gone when this resolves. */
  unprotect(resource: string): Promise<void>;
  /** Resolves when no failover is about to decide whether the volume or group is the source here: it may be a destination by then. */
  directionDecided(resource: string): Promise<void>;
  /** Members are about to come and go: refused before anything has changed, or free to do so when this resolves. */
  membersChange(group: string, add: readonly VolumeDocument[], remove: readonly VolumeDocument[]): Promise<void>;
  /** They have come and gone. */
  membersChanged(group: string): Promise<void>;
  /** Name or description of a volume or group changed at the source. */
  resourceChanged(kind: ResourceKind, id: string): void;
  /** A policy, or a rule of it, was changed: its copies at peers follow. */
  policyChanged(policyId: string): void;
  /** A replication rule was changed: its sessions follow. */
  ruleChanged(ruleId: string): void;
}
