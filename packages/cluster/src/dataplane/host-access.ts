import type { NbdClientIdentity } from '@antipode/hosts';
import type { HostAccess } from '../local/api.ts';

/**
 * Who may open which volume. Clients that prove nothing are those of an open listener, which takes everybody; those with a certificate
 * are the hosts that one of its names belongs to, and reach what is mapped to these and nothing else [C11.1].
 */
export class HostAccessTable {
  #volumesOf = new Map<string, Set<string>>();

  /** Replaces the whole table. */
  set(hosts: readonly HostAccess[]): void {
    const next = new Map<string, Set<string>>();
    for (const { names, volumes } of hosts) {
      for (const name of names) {
        const known = next.get(name) ?? new Set();
        for (const volume of volumes) known.add(volume);
        next.set(name, known);
      }
    }
    this.#volumesOf = next;
  }

  mayOpen(client: NbdClientIdentity, volume: string): boolean {
    const { auth } = client;
    if (auth.kind === 'open') return true;
    if (auth.kind !== 'certificate') return false;
    return auth.names.some((name) => this.#volumesOf.get(name.toLowerCase())?.has(volume) ?? false);
  }
}
