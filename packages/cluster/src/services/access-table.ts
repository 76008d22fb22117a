import type { Catalog } from '../catalog/catalog.ts';
import type { DataPlane, HostAccess } from '../local/api.ts';
import { Publisher } from './publisher.ts';

/** An NBD host whose certificate carries a plain name has this before it in its initiator's name. */
export const nbdInitiatorPrefix = 'iqn.2026-11.antipode.nbd:';

/** Names in a certificate, in lower case, that an initiator is known by. */
export function certificateNames(portName: string): readonly string[] {
  const name = portName.toLowerCase();
  return name.startsWith(nbdInitiatorPrefix) ? [name, name.slice(nbdInitiatorPrefix.length)] : [name];
}

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
    namesOf.set(host_id, [...(namesOf.get(host_id) ?? []), ...certificateNames(port_name)]);
  }
  return catalog.list('host').flatMap((host) => {
    const volumes = [...(ofOwner.get(host.id) ?? []), ...(ofOwner.get(host.host_group_id ?? '') ?? [])];
    const names = namesOf.get(host.id) ?? [];
    return volumes.length === 0 || names.length === 0 ? [] : [{ names, volumes }];
  });
}

/** Keeps the data plane's table of who may open what equal to the catalog's: whom it leaves out takes no further request once it is told. */
export class AccessPublisher extends Publisher {
  constructor(catalog: Catalog, dataPlane: Pick<DataPlane, 'setAccess'>) {
    super(() => dataPlane.setAccess(accessTable(catalog)));
  }
}
