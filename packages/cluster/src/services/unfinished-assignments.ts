import type { Clock, Timer } from '@antipode/base';
import type { Catalog } from '../catalog/catalog.ts';
import type { PolicyDocument } from '../catalog/documents.ts';
import { type Assignee, assigneesOf } from './assignments.ts';
import type { Reporter } from './occurrences.ts';
import type { ReplicationHooks, ResourceKind } from './replication-hooks.ts';
import { Turns } from './turns.ts';

/** Rows of what is to be: of one resource, and of a policy that is about to have another rule. */
const kinds = { resource: 'assignment', policy: 'policy_change' } as const;
/** How often what could not be begun is tried again, besides whenever a link is back. */
const again_ms = 30_000;
const idOf = (resource: string): string => `assignment:${resource}`;

/** What a resource is to have: a policy, or null. */
interface Wanted {
  readonly kind: ResourceKind;
  readonly id: string;
  readonly name: string;
  readonly policy: string | null;
  /** Nobody is at it: whoever asked has been answered, or died. */
  readonly waits: boolean;
}

/**
 * A session comes or goes first, and the catalog says which policy there is afterwards: two stores that change one after the other. What
 * is wanted is written down before the first of them changes, goes with the last, and is brought about after a death in between.
 */
export class UnfinishedAssignments {
  readonly #catalog: Catalog;
  readonly #replication: ReplicationHooks;
  readonly #clock: Clock;
  readonly #reporter: Pick<Reporter, 'tell' | 'clear'>;
  readonly #turns = new Turns<string>();
  #retrying = false;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(deps: {
    readonly catalog: Catalog;
    readonly replication: ReplicationHooks;
    readonly clock: Clock;
    readonly reporter: Pick<Reporter, 'tell' | 'clear'>;
  }) {
    this.#catalog = deps.catalog;
    this.#replication = deps.replication;
    this.#clock = deps.clock;
    this.#reporter = deps.reporter;
  }

  /** Whoever changes the session of a resource does so alone: it takes as long as a peer does to answer, and others ask meanwhile. */
  inTurn<T>({ id }: Pick<Assignee, 'id'>, work: () => Promise<T>): Promise<T> {
    return this.#turns.take(id, work);
  }

  /** Before the first effect on a resource's session. `waits`: whoever asks does nothing more about it. */
  want({ kind, id, name }: Assignee, policy: string | null, waits = false): void {
    this.#catalog.put('intent', { id: idOf(id), kind: kinds.resource, data: { kind, id, name, policy, waits } });
    if (waits) this.#later();
  }

  /** The catalog says what was wanted; in one transaction with its saying so. */
  done({ kind, id, name }: Assignee, policy: string | null): void {
    const waited = this.#catalog.get('intent', idOf(id))?.data.waits === true;
    this.#catalog.transaction(() => {
      this.#catalog.change(kind, id, { protection_policy_id: policy });
      this.#catalog.remove('intent', idOf(id));
    });
    if (waited) this.#reporter.clear('protection_waits', { type: kind, id, name });
  }

  /** Nothing has changed, or it is as it was again. */
  undone({ id }: Assignee): void {
    this.#catalog.remove('intent', idOf(id));
  }

  /** Before sessions of a policy's resources follow another rule of it. */
  wantPolicy(next: PolicyDocument): void {
    this.#catalog.put('intent', { id: idOf(next.id), kind: kinds.policy, data: { policy: next } });
  }

  /** The policy as it is wanted, or as it stays; in one transaction with what was to be. */
  policyDone(policy: PolicyDocument): void {
    this.#catalog.transaction(() => {
      this.#catalog.put('policy', policy);
      this.#catalog.remove('intent', idOf(policy.id));
    });
  }

  /** Sessions of a policy's resources are to be what the policy says. */
  usersWait(policy: string): void {
    for (const user of assigneesOf(this.#catalog, policy)) this.want(user, policy, true);
  }

  /** At start, when sessions are there and before anything else is asked: the catalog says what was wanted; sessions follow. */
  recover(): void {
    for (const { data } of this.#catalog.list('intent', 'kind', kinds.policy)) {
      const next = data.policy as PolicyDocument;
      if (this.#catalog.get('policy', next.id) === undefined) {
        this.#catalog.remove('intent', idOf(next.id));
        continue;
      }
      this.#catalog.transaction(() => {
        this.policyDone(next);
        this.usersWait(next.id);
      });
    }
    for (const wanted of this.#wanted()) {
      if (this.#catalog.get(wanted.kind, wanted.id) === undefined) this.undone(wanted);
      else if (wanted.policy === null) this.#recoverRemoval(wanted);
      else if (!wanted.waits) this.#recoverAssignment(wanted, wanted.policy);
    }
    void this.retry();
  }

  /** Sessions of what is to have one are begun; when a link is back, and whenever else it may have become possible. */
  async retry(): Promise<void> {
    if (this.#retrying || this.#stopped) return;
    this.#retrying = true;
    try {
      for (const { id } of this.#wanted()) await this.inTurn({ id }, () => this.#bringAbout(id));
      if (this.#wanted().some(({ waits }) => waits)) this.#later();
    } catch {
      // The catalog takes nothing now, or has been closed meanwhile: what waits is looked at when a link is back, or at the next start.
    } finally {
      this.#retrying = false;
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #later(): void {
    if (this.#stopped) return;
    this.#timer?.cancel();
    this.#timer = this.#clock.after(again_ms, () => void this.retry());
  }

  /** The session went, and with it what was asked for is done; or it did not, and nothing has happened. */
  #recoverRemoval(wanted: Wanted): void {
    const session = this.#replication.sessionOf(wanted.id);
    if (session === undefined || session.state === 'Deleting') this.done(wanted, null);
    else this.undone(wanted);
  }

  /** What is assigned is what was asked for; its session is begun when the peer can be asked. */
  #recoverAssignment(wanted: Wanted, policy: string): void {
    this.#catalog.transaction(() => {
      this.done(wanted, policy);
      this.want(wanted, policy, true);
    });
  }

  async #bringAbout(id: string): Promise<void> {
    const wanted = this.#wanted().find((one) => one.id === id);
    if (wanted === undefined || !wanted.waits || this.#stopped) return;
    const resource = this.#catalog.get(wanted.kind, wanted.id);
    const policy = this.#catalog.get('policy', wanted.policy ?? '');
    const rule = policy?.replication_rule_ids[0];
    const session = this.#replication.sessionOf(wanted.id);
    const isWanted = resource?.protection_policy_id === policy?.id && !resource?.is_replication_destination;
    if (policy === undefined || !isWanted || session?.replication_rule_id === rule) return this.#settled(wanted);
    if (rule !== undefined && this.#replication.goOnUnder(wanted.id, rule)) {
      this.#replication.policyChanged(policy.id);
      return this.#settled(wanted);
    }
    try {
      if (session !== undefined) await this.#replication.unprotect(wanted.id);
      if (rule !== undefined) await this.#replication.protect(wanted, policy);
      this.#settled(wanted);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#reporter.tell('protection_waits', aboutOf(wanted), why);
    }
  }

  #settled(wanted: Wanted): void {
    this.undone(wanted);
    this.#reporter.clear('protection_waits', aboutOf(wanted));
  }

  #wanted(): readonly Wanted[] {
    return this.#catalog.list('intent', 'kind', kinds.resource).map(({ data }) => data as unknown as Wanted);
  }
}

const aboutOf = ({ kind, id, name }: Wanted) => ({ type: kind, id, name });
