import { passFaultPoint } from '@antipode/base';
import { RestError } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import type { PolicyDocument, VolumeDocument, VolumeGroupDocument } from '../catalog/documents.ts';
import { membersOf } from './group-document.ts';
import type { ReplicationHooks, ResourceKind } from './replication-hooks.ts';
import type { UnfinishedAssignments } from './unfinished-assignments.ts';

/** What policies are assigned to. */
export interface Assignee {
  readonly kind: ResourceKind;
  readonly id: string;
  readonly name: string;
}

export const assigneesOf = (catalog: Catalog, policy: string): readonly Assignee[] =>
  (['volume', 'volume_group'] as const).flatMap((kind) =>
    catalog.list(kind, 'protection_policy_id', policy).map(({ id, name }) => ({ kind, id, name })),
  );

/** Assigns policies to volumes and groups and takes them away; sessions come and go with their replication rules (REPLICATION 2.14). */
export class Assignments {
  readonly #catalog: Catalog;
  readonly #replication: ReplicationHooks;
  readonly #unfinished: UnfinishedAssignments;

  constructor(catalog: Catalog, replication: ReplicationHooks, unfinished: UnfinishedAssignments) {
    this.#catalog = catalog;
    this.#replication = replication;
    this.#unfinished = unfinished;
  }

  /** What a body asks for: undefined nothing, null that the policy goes. Refuses what cannot be before anything changes. */
  wanted(
    target: Assignee & { readonly type: string },
    given: string | null | undefined,
  ): PolicyDocument | null | undefined {
    if (given === undefined) return undefined;
    if (target.type === 'Snapshot') throw new RestError('not_for_this_type', 'Snapshot', 'a snapshot takes no policy');
    if (given === null || given === '') return null;
    const policy = this.#policy(given);
    if (policy.type !== 'Protection')
      throw new RestError('policy_of_other_kind', policy.name, policy.type, 'it protects nothing.');
    this.#check(target, policy);
    return policy;
  }

  /** The session, if the policy asks for one, exists when this resolves. */
  assign(target: Assignee, policy: PolicyDocument): Promise<void> {
    return this.#unfinished.inTurn(target, () => this.#assign(target, policy));
  }

  async #assign(target: Assignee, policy: PolicyDocument): Promise<void> {
    const present = this.#document(target);
    const session = this.#replication.sessionOf(target.id);
    const rule = policy.replication_rule_ids[0];
    // The same once more begins the session that the peer has deleted.
    if (present.protection_policy_id === policy.id && (rule === undefined || session !== undefined)) return;
    if (present.is_replication_destination)
      throw target.kind === 'volume'
        ? new RestError('is_destination', target.name, 'assigning a policy')
        : new RestError('group_destination', target.name, 'assigning a policy');
    this.#check(target, policy);
    // Nothing is copied anew; the peer has the copy of another policy, or of none.
    if (rule !== undefined && this.#replication.goOnUnder(target.id, rule)) {
      this.#unfinished.done(target, policy.id);
      return this.#replication.policyChanged(policy.id);
    }
    if (session?.replication_rule_id !== rule) this.#unfinished.want(target, policy.id);
    try {
      if (session !== undefined && session.replication_rule_id !== rule) await this.#replication.unprotect(target.id);
      if (rule !== undefined && session?.replication_rule_id !== rule) await this.#replication.protect(target, policy);
    } catch (error) {
      // What was there before stays; a session that has gone already comes back when it can.
      if (session !== undefined && this.#replication.sessionOf(target.id) === undefined)
        this.#unfinished.want(target, present.protection_policy_id, true);
      else this.#unfinished.undone(target);
      throw error;
    }
    passFaultPoint('assignment.session.changed');
    this.#unfinished.done(target, policy.id);
  }

  /** The session is gone when this resolves. */
  unassign(target: Assignee, force: boolean): Promise<void> {
    return this.#unfinished.inTurn(target, () => this.#unassign(target, force));
  }

  async #unassign(target: Assignee, force: boolean): Promise<void> {
    const session = this.#replication.sessionOf(target.id);
    if (session !== undefined && session.role === 'Destination') {
      // At the destination only where the source cannot do it, or the session never copied anything (REPLICATION 2.12, A29).
      const local =
        session.state === 'Paused' || session.state === 'Failed_Over' || session.data_transfer_state === null;
      if (!local && !(force && session.last_sync_timestamp === null))
        throw target.kind === 'volume'
          ? new RestError('is_destination', target.name, 'removing the policy')
          : new RestError('group_destination', target.name, 'removing the policy');
    }
    if (session === undefined) return this.#unfinished.done(target, null);
    this.#unfinished.want(target, null);
    try {
      await this.#replication.unprotect(target.id);
    } catch (error) {
      this.#unfinished.undone(target);
      throw error;
    }
    passFaultPoint('assignment.session.changed');
    this.#unfinished.done(target, null);
  }

  #check(target: Assignee, policy: PolicyDocument): void {
    if (policy.is_replica) throw new RestError('read_only_object', 'policy', policy.name, 'the source of a session');
    if (target.kind === 'volume_group') {
      const other = membersOf(this.#catalog, target.id).find((member) => member.protection_policy_id !== null);
      if (other !== undefined) throw new RestError('policy_on_both', target.name, other.name);
      return;
    }
    const { group_id } = this.#document(target) as VolumeDocument;
    const group = group_id == null ? undefined : this.#catalog.get('volume_group', group_id);
    if (group !== undefined && group.protection_policy_id !== null)
      throw new RestError('policy_on_both', group.name, target.name);
  }

  #document(target: Assignee): VolumeDocument | VolumeGroupDocument {
    const document = this.#catalog.get(target.kind, target.id);
    if (document === undefined)
      throw new RestError(target.kind === 'volume' ? 'volume_not_found' : 'group_not_found', target.id);
    return document;
  }

  #policy(id: string): PolicyDocument {
    const policy = this.#catalog.get('policy', id);
    if (policy === undefined) throw new RestError('policy_not_found', id);
    return policy;
  }
}
