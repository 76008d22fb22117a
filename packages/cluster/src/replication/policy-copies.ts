import type { Clock, Timer } from '@antipode/base';
import type { Catalog } from '../catalog/catalog.ts';
import { driverLimits } from './limits.ts';
import type { PeerAnswer, PeerRequest } from './peer-wire.ts';
import { policyCopyOf } from './replica-policy.ts';
import { resourceOf, type SessionRecord } from './session-store.ts';

export interface PolicyCopiesDeps {
  readonly catalog: Catalog;
  readonly waits: Clock;
  readonly records: () => readonly SessionRecord[];
  readonly isUp: (remote: string) => boolean;
  readonly ask: (remote: string, request: PeerRequest) => Promise<PeerAnswer>;
}

/**
 * Keeps the peers' copies of this cluster's own policies as the policies are. What changes is told at once where the peer can be reached;
 * when a link comes back everything is told again, which changes nothing where nothing is new.
 */
export class PolicyCopies {
  readonly #deps: PolicyCopiesDeps;
  /** Policies that a peer is to be told of, by its remote system. */
  readonly #owed = new Map<string, Set<string>>();
  readonly #telling = new Set<string>();
  #retry: Timer | undefined;
  #stopped = false;

  constructor(deps: PolicyCopiesDeps) {
    this.#deps = deps;
  }

  /** A policy, or one of its rules, was changed here. */
  changed(policy: string): void {
    for (const record of this.#deps.records())
      if (resourceOf(this.#deps.catalog, record)?.protection_policy_id === policy)
        this.#owe(record.remoteSystemId, policy);
    this.#tellAll();
  }

  /** The link to a peer is back. */
  linkUp(remote: string): void {
    for (const record of this.#deps.records()) {
      const policy = resourceOf(this.#deps.catalog, record)?.protection_policy_id;
      if (record.remoteSystemId === remote && policy != null) this.#owe(remote, policy);
    }
    void this.#tell(remote);
  }

  stop(): void {
    this.#stopped = true;
    this.#retry?.cancel();
  }

  #owe(remote: string, policy: string): void {
    if (this.#deps.catalog.get('policy', policy)?.is_replica !== false) return;
    const owed = this.#owed.get(remote) ?? new Set();
    this.#owed.set(remote, owed.add(policy));
  }

  #tellAll(): void {
    for (const remote of this.#owed.keys()) void this.#tell(remote);
  }

  /** One after the other; what cannot be told now is tried again later. */
  async #tell(remote: string): Promise<void> {
    if (this.#telling.has(remote)) return;
    this.#telling.add(remote);
    const owed = this.#owed.get(remote) ?? new Set();
    try {
      for (const policy of owed) {
        if (this.#stopped || !this.#deps.isUp(remote)) return;
        owed.delete(policy);
        if (await this.#tellOne(remote, policy)) continue;
        owed.add(policy);
        this.#retry?.cancel();
        this.#retry = this.#deps.waits.after(driverLimits.policyAgain_ms, () => this.#tellAll());
        return;
      }
    } finally {
      this.#telling.delete(remote);
    }
  }

  async #tellOne(remote: string, id: string): Promise<boolean> {
    const { catalog, records, ask } = this.#deps;
    const policy = catalog.get('policy', id);
    const session = records().find(
      (record) => record.remoteSystemId === remote && resourceOf(catalog, record)?.protection_policy_id === id,
    );
    // Gone meanwhile, or no longer ours.
    if (policy === undefined || policy.is_replica || session === undefined) return true;
    try {
      await ask(remote, { kind: 'policy', session: session.half.id, protection: policyCopyOf(catalog, policy) });
      return true;
    } catch {
      return false;
    }
  }
}
