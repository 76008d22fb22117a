import type { Catalog } from '../catalog/catalog.ts';
import type { DataPlane, HostAccess } from '../local/api.ts';
import { DataPlaneAway } from '../local/client.ts';

/** An NBD host whose certificate carries a plain name has this before it in its initiator's name. */
export const nbdInitiatorPrefix = 'iqn.2026-11.antipode.nbd:';

/** Which volumes each host may open, by the names in its certificate [C11.1]. Pure but for reading the catalog. */
export function accessTable(catalog: Catalog): readonly HostAccess[] {
  const ofOwner = new Map<string, string[]>();
  for (const { host_id, host_group_id, volume_id } of catalog.list('host_volume_mapping')) {
    const owner = host_id ?? host_group_id ?? '';
    const volumes = ofOwner.get(owner);
    if (volumes === undefined) ofOwner.set(owner, [volume_id]);
    else volumes.push(volume_id);
  }
  const namesOf = new Map<string, string[]>();
  for (const { host_id, port_name } of catalog.list('initiator')) {
    const name = port_name.toLowerCase();
    const names = name.startsWith(nbdInitiatorPrefix) ? [name, name.slice(nbdInitiatorPrefix.length)] : [name];
    namesOf.set(host_id, [...(namesOf.get(host_id) ?? []), ...names]);
  }
  return catalog.list('host').flatMap((host) => {
    const volumes = [...(ofOwner.get(host.id) ?? []), ...(ofOwner.get(host.host_group_id ?? '') ?? [])];
    const names = namesOf.get(host.id) ?? [];
    return volumes.length === 0 || names.length === 0 ? [] : [{ names, volumes }];
  });
}

/**
 * Keeps the data plane's table of who may open what equal to the catalog's: the table is told anew after every change and whenever the
 * data plane comes back. One telling at a time, so that an older table never comes after a newer one.
 */
export class AccessPublisher {
  readonly #catalog: Catalog;
  readonly #dataPlane: Pick<DataPlane, 'setAccess'>;
  #stale = false;
  #running: Promise<void> | undefined;

  constructor(catalog: Catalog, dataPlane: Pick<DataPlane, 'setAccess'>) {
    this.#catalog = catalog;
    this.#dataPlane = dataPlane;
  }

  /**
   * Resolves when the data plane acts on a table at least as new as this call: whom it leaves out is let in no more, and open connections
   * that it does not cover take no further request. A data plane that is away has no connections, and is told when it is back.
   */
  async publish(): Promise<void> {
    this.#stale = true;
    while (this.#running !== undefined) await this.#running;
    if (!this.#stale) return;
    this.#running = this.#tell();
    await this.#running;
  }

  async #tell(): Promise<void> {
    this.#stale = false;
    try {
      await this.#dataPlane.setAccess(accessTable(this.#catalog));
    } catch (error) {
      if (!(error instanceof DataPlaneAway)) throw error;
    } finally {
      this.#running = undefined;
    }
  }
}
