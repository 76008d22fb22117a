import type { Random } from '@antipode/base';
import { OwnerAttach, OwnerDetach, RestError, VolumeAttach, VolumeDetach } from '@antipode/contract';
import type { Static } from 'typebox';
import type { Catalog } from '../catalog/catalog.ts';
import type { LunPrivate, MappingDocument, VolumeDocument } from '../catalog/documents.ts';
import { type Handlers, handler } from '../rest/handlers.ts';
import type { AccessPublisher } from './access-table.ts';

const lunMost = 16_383;
/** Numbers that are chosen begin here: lower ones are left to those who choose for themselves. */
const lunFirst = 200;

/** A host or a host group, as something that volumes are attached to. */
export interface Owner {
  readonly table: 'host' | 'host_group';
  readonly id: string;
  readonly name: string;
}

/** Attaching and detaching: which host or host group reaches which volume under which number. */
export class MappingService {
  readonly #catalog: Catalog;
  readonly #random: Random;
  readonly #access: AccessPublisher;

  constructor(catalog: Catalog, random: Random, access: AccessPublisher) {
    this.#catalog = catalog;
    this.#random = random;
    this.#access = access;
  }

  handlers(): Handlers {
    const attach = (table: Owner['table']) =>
      handler(OwnerAttach, (_, id, body) =>
        this.attach(this.#volume(body.volume_id), this.owner(table, id), body.logical_unit_number),
      );
    const detach = (table: Owner['table']) =>
      handler(OwnerDetach, async (_, id, body) => {
        const volume = this.#volume(body.volume_id);
        const owner = this.owner(table, id);
        if (!(await this.#detach(volume, owner))) throw new RestError('host_not_attached', owner.name, volume.name);
      });
    return {
      'volume.attach': handler(VolumeAttach, (_, id, body) =>
        this.attach(this.#volume(id), this.#chosen(body), body.logical_unit_number),
      ),
      'volume.detach': handler(VolumeDetach, async (_, id, body) => {
        const volume = this.#volume(id);
        const owner = this.#chosen(body);
        if (!(await this.#detach(volume, owner))) throw new RestError('volume_not_attached', volume.name, owner.name);
      }),
      'host.attach': attach('host'),
      'host.detach': detach('host'),
      'host_group.attach': attach('host_group'),
      'host_group.detach': detach('host_group'),
    };
  }

  /** The owner that a body of a new volume names, or none. */
  wanted(body: Static<typeof VolumeAttach>): Owner | undefined {
    const owner = body.host_id === undefined && body.host_group_id === undefined ? undefined : this.#chosen(body);
    if (owner !== undefined) {
      this.#ungrouped(owner);
      this.#checkLun(owner, body.logical_unit_number);
    }
    return owner;
  }

  /** Attaches; which node serves the volume is settled by the first time. Destinations may be attached: hosts find them ready (A8). */
  async attach(volume: VolumeDocument, owner: Owner, lun: number | undefined): Promise<void> {
    const catalog = this.#catalog;
    if (volume.type === 'Snapshot')
      throw new RestError('not_for_this_type', 'Snapshot', 'hosts reach a clone of it, not the snapshot itself');
    catalog.transaction(() => {
      this.#ungrouped(owner);
      if (this.#mapping(volume.id, owner) !== undefined)
        throw new RestError('attached_already', volume.name, owner.name);
      this.#checkLun(owner, lun);
      const number = lun ?? this.#nextLun(owner);
      catalog.put('host_volume_mapping', {
        id: this.#random.uuid(),
        host_id: owner.table === 'host' ? owner.id : null,
        host_group_id: owner.table === 'host_group' ? owner.id : null,
        volume_id: volume.id,
        logical_unit_number: number,
      });
      if (volume.node_affinity === 'System_Select_At_Attach')
        catalog.change('volume', volume.id, { node_affinity: 'System_Selected_Node_A' });
    });
    await this.#access.publish();
  }

  mappingsOf(owner: Pick<Owner, 'table' | 'id'>): readonly MappingDocument[] {
    return this.#catalog.list('host_volume_mapping', owner.table === 'host' ? 'host_id' : 'host_group_id', owner.id);
  }

  /** @throws RestError host_not_found or not_found */
  owner(table: Owner['table'], id: string): Owner {
    const found = this.#catalog.get(table, id);
    if (found === undefined)
      throw table === 'host' ? new RestError('host_not_found', id) : new RestError('not_found', table, id);
    return { table, id, name: found.name };
  }

  async #detach(volume: VolumeDocument, owner: Owner): Promise<boolean> {
    const mapping = this.#mapping(volume.id, owner);
    if (mapping === undefined) {
      this.#ungrouped(owner);
      return false;
    }
    this.#catalog.remove('host_volume_mapping', mapping.id);
    await this.#access.publish();
    return true;
  }

  #chosen(body: { readonly host_id?: string; readonly host_group_id?: string }): Owner {
    const { host_id, host_group_id } = body;
    if (host_id !== undefined && host_group_id !== undefined) throw new RestError('attach_target', 'not both');
    if (host_id !== undefined) return this.owner('host', host_id);
    if (host_group_id !== undefined) return this.owner('host_group', host_group_id);
    throw new RestError('attach_target', 'one of them');
  }

  /** A host in a group has no mappings of its own. */
  #ungrouped(owner: Owner): void {
    const group = owner.table === 'host' ? this.#catalog.get('host', owner.id)?.host_group_id : null;
    if (group == null) return;
    const name = this.#catalog.get('host_group', group)?.name ?? group;
    throw new RestError('host_in_group', owner.name, name, 'attaching and detaching');
  }

  #mapping(volumeId: string, owner: Owner): MappingDocument | undefined {
    return this.mappingsOf(owner).find((mapping) => mapping.volume_id === volumeId);
  }

  #checkLun(owner: Owner, lun: number | undefined): void {
    if (lun === undefined) return;
    if (this.mappingsOf(owner).some((mapping) => mapping.logical_unit_number === lun))
      throw new RestError('lun_in_use', String(lun), owner.name);
  }

  /**
   * The next number for an owner: one that it has not had, so that a path that a host has not yet forgotten never leads to another
   * volume; once all were used, the lowest that is free.
   */
  #nextLun(owner: Owner): number {
    const used = new Set(this.mappingsOf(owner).map((mapping) => mapping.logical_unit_number));
    const last = this.#catalog.private<LunPrivate>(owner.table, owner.id)?.lastLun ?? lunFirst - 1;
    const ahead = freeFrom(used, last + 1);
    const lun = ahead ?? freeFrom(used, lunFirst) ?? freeFrom(used, 0);
    if (lun === undefined) throw new RestError('lun_exhausted', owner.name);
    if (ahead !== undefined) {
      const document = this.#catalog.get(owner.table, owner.id);
      const hidden: LunPrivate = { lastLun: lun };
      if (document !== undefined) this.#catalog.put(owner.table, document, hidden);
    }
    return lun;
  }

  #volume(id: string): VolumeDocument {
    const volume = this.#catalog.get('volume', id);
    if (volume === undefined) throw new RestError('volume_not_found', id);
    return volume;
  }
}

/** What reaches a volume, by name: while there is something, the volume cannot be deleted. */
export function attachedTo(catalog: Catalog, volumeId: string): string | undefined {
  const mapping = catalog.list('host_volume_mapping', 'volume_id', volumeId)[0];
  if (mapping === undefined) return undefined;
  const { host_id, host_group_id } = mapping;
  const owner = host_id === null ? catalog.get('host_group', host_group_id ?? '') : catalog.get('host', host_id);
  return owner?.name ?? 'a host';
}

function freeFrom(used: ReadonlySet<number>, first: number): number | undefined {
  for (let lun = first; lun <= lunMost; lun++) if (!used.has(lun)) return lun;
  return undefined;
}
