import type { Random } from '@antipode/base';
import { HostCreate, HostGroupCreate, HostGroupModify, HostModify, RestError } from '@antipode/contract';
import { type Static, Type } from 'typebox';
import type { Catalog } from '../catalog/catalog.ts';
import type { HostDocument, HostGroupDocument, InitiatorPrivate } from '../catalog/documents.ts';
import { type Handlers, handler } from '../rest/handlers.ts';
import type { AccessPublisher } from './access-table.ts';
import { checkInitiators, initiatorDocument, initiatorSecrets, showInitiators } from './initiators.ts';
import type { MappingService } from './mappings.ts';

/** Hosts, their initiators, and groups of hosts. */
export class HostService {
  readonly #catalog: Catalog;
  readonly #random: Random;
  readonly #mappings: MappingService;
  readonly #access: AccessPublisher;

  constructor(catalog: Catalog, random: Random, mappings: MappingService, access: AccessPublisher) {
    this.#catalog = catalog;
    this.#random = random;
    this.#mappings = mappings;
    this.#access = access;
  }

  handlers(): Handlers {
    return {
      'host.create': handler(HostCreate, async (_, __, body) => this.#create(body)),
      'host.modify': handler(HostModify, (_, id, body) => this.#modify(id, body)),
      'host.delete': handler(Type.Object({}), async (_, id) => this.#delete(id)),
      'host_group.create': handler(HostGroupCreate, async (_, __, body) => this.#createGroup(body)),
      'host_group.modify': handler(HostGroupModify, (_, id, body) => this.#modifyGroup(id, body)),
      'host_group.delete': handler(Type.Object({}), async (_, id) => this.#deleteGroup(id)),
    };
  }

  #create(body: Static<typeof HostCreate>): { id: string } {
    const catalog = this.#catalog;
    const id = this.#random.uuid();
    checkInitiators(catalog, { id, name: body.name }, body.initiators);
    catalog.transaction(() => {
      catalog.put('host', {
        id,
        name: body.name,
        description: body.description ?? null,
        host_group_id: null,
        type: 'External',
        os_type: body.os_type,
        host_connectivity: body.host_connectivity ?? 'Local_Only',
        import_host_system_id: null,
        host_initiators: [],
      });
      for (const given of body.initiators) this.#putInitiator(id, given);
      showInitiators(catalog, id);
    });
    return { id };
  }

  #putInitiator(hostId: string, given: Static<typeof HostCreate>['initiators'][number]): void {
    this.#catalog.put('initiator', initiatorDocument(this.#random.uuid(), hostId, given), initiatorSecrets(given));
  }

  async #modify(id: string, body: Static<typeof HostModify>): Promise<void> {
    const catalog = this.#catalog;
    const host = this.#host(id);
    const { add_initiators = [], remove_initiators = [], modify_initiators = [] } = body;
    if ([add_initiators, remove_initiators, modify_initiators].filter((part) => part.length > 0).length > 1)
      throw new RestError('one_change', 'Added, removed and modified initiators');
    const present = catalog.list('initiator', 'host_id', id);
    const known = (portName: string) => {
      const found = present.find((initiator) => initiator.port_name.toLowerCase() === portName.toLowerCase());
      if (found === undefined) throw new RestError('initiator_not_of_host', portName, host.name);
      return found;
    };
    const removed = new Set(remove_initiators.map((name) => known(name).id));
    checkInitiators(catalog, host, add_initiators, present);
    if (removed.size > 0 && removed.size === present.length && this.#volumesOf(host) > 0)
      throw new RestError('last_initiator', host.name);
    if (body.host_connectivity !== undefined && body.host_connectivity !== host.host_connectivity)
      this.#ungrouped(host, 'changing the connectivity');
    catalog.transaction(() => {
      catalog.change('host', id, {
        ...(body.name !== undefined && { name: body.name }),
        ...(body.description !== undefined && { description: body.description }),
        ...(body.host_connectivity !== undefined && { host_connectivity: body.host_connectivity }),
      });
      for (const given of add_initiators) this.#putInitiator(id, given);
      for (const gone of removed) catalog.remove('initiator', gone);
      for (const given of modify_initiators) {
        const before = known(given.port_name);
        catalog.put(
          'initiator',
          {
            ...before,
            chap_single_username: given.chap_single_username ?? before.chap_single_username,
            chap_mutual_username: given.chap_mutual_username ?? before.chap_mutual_username,
          },
          initiatorSecrets(given, catalog.private<InitiatorPrivate>('initiator', before.id)),
        );
      }
      showInitiators(catalog, id);
    });
    await this.#access.publish();
  }

  #delete(id: string): void {
    const catalog = this.#catalog;
    const host = this.#host(id);
    this.#ungrouped(host, 'deleting');
    this.#unattached({ table: 'host', id, name: host.name }, 'deleting it');
    catalog.transaction(() => {
      for (const initiator of catalog.list('initiator', 'host_id', id)) catalog.remove('initiator', initiator.id);
      catalog.remove('host', id);
    });
  }

  #createGroup(body: Static<typeof HostGroupCreate>): { id: string } {
    const catalog = this.#catalog;
    const id = this.#random.uuid();
    const hosts = this.#joining(body.name, body.host_ids);
    const connectivity = hosts[0]?.host_connectivity ?? 'Local_Only';
    this.#alike(hosts, connectivity);
    catalog.transaction(() => {
      catalog.put('host_group', {
        id,
        name: body.name,
        description: body.description ?? null,
        host_connectivity: connectivity,
      });
      for (const host of hosts) catalog.change('host', host.id, { host_group_id: id });
    });
    return { id };
  }

  async #modifyGroup(id: string, body: Static<typeof HostGroupModify>): Promise<void> {
    const catalog = this.#catalog;
    const group = this.#group(id);
    const { add_host_ids = [], remove_host_ids = [] } = body;
    const membership = add_host_ids.length > 0 || remove_host_ids.length > 0;
    if (membership && body.name !== undefined) throw new RestError('one_change', 'The name and the hosts of a group');
    if (membership && body.host_connectivity !== undefined)
      throw new RestError('one_change', 'The connectivity and the hosts of a group');
    const present = catalog.list('host', 'host_group_id', id);
    const joining = this.#joining(group.name, add_host_ids);
    this.#alike(joining, group.host_connectivity);
    const leaving = new Set(remove_host_ids);
    const stranger = remove_host_ids.find((host) => !present.some((member) => member.id === host));
    if (stranger !== undefined)
      throw new RestError('host_group_hosts', group.name, `host ${stranger} is not in the group`);
    if (
      present.length + joining.length === leaving.size &&
      this.#mappings.mappingsOf({ table: 'host_group', id }).length > 0
    )
      throw new RestError('host_group_last_host', group.name);
    catalog.transaction(() => {
      catalog.change('host_group', id, {
        ...(body.name !== undefined && { name: body.name }),
        ...(body.description !== undefined && { description: body.description }),
        ...(body.host_connectivity !== undefined && { host_connectivity: body.host_connectivity }),
      });
      for (const host of joining) catalog.change('host', host.id, { host_group_id: id });
      for (const host of leaving) catalog.change('host', host, { host_group_id: null });
      // The hosts of a group reach a metro volume as their group does.
      const { host_connectivity } = body;
      if (host_connectivity !== undefined)
        for (const host of present) catalog.change('host', host.id, { host_connectivity });
    });
    await this.#access.publish();
  }

  #deleteGroup(id: string): void {
    const catalog = this.#catalog;
    const group = this.#group(id);
    this.#unattached({ table: 'host_group', id, name: group.name }, 'deleting it');
    catalog.transaction(() => {
      for (const host of catalog.list('host', 'host_group_id', id))
        catalog.change('host', host.id, { host_group_id: null });
      catalog.remove('host_group', id);
    });
  }

  /** Hosts that may join a group: they exist, are in none, and reach no volume by themselves. */
  #joining(group: string, ids: readonly string[]): readonly HostDocument[] {
    return [...new Set(ids)].map((id) => {
      const host = this.#catalog.get('host', id);
      if (host === undefined) throw new RestError('host_group_hosts', group, `there is no host ${id}`);
      if (host.host_group_id !== null)
        throw new RestError('host_group_hosts', group, `host ${host.name} is in a group already`);
      this.#unattached({ table: 'host', id, name: host.name }, 'joining a group');
      return host;
    });
  }

  #alike(hosts: readonly HostDocument[], connectivity: HostGroupDocument['host_connectivity']): void {
    const other = hosts.find((host) => host.host_connectivity !== connectivity);
    if (other !== undefined)
      throw new RestError('host_group_connectivity', other.name, other.host_connectivity, connectivity);
  }

  #volumesOf(host: HostDocument): number {
    const own = this.#mappings.mappingsOf({ table: 'host', id: host.id }).length;
    return host.host_group_id === null
      ? own
      : own + this.#mappings.mappingsOf({ table: 'host_group', id: host.host_group_id }).length;
  }

  #unattached(
    owner: { readonly table: 'host' | 'host_group'; readonly id: string; readonly name: string },
    what: string,
  ): void {
    const count = this.#mappings.mappingsOf(owner).length;
    if (count > 0) throw new RestError('host_attached', owner.name, String(count), what);
  }

  #ungrouped(host: HostDocument, what: string): void {
    if (host.host_group_id === null) return;
    const group = this.#catalog.get('host_group', host.host_group_id)?.name ?? host.host_group_id;
    throw new RestError('host_in_group', host.name, group, what);
  }

  #host(id: string): HostDocument {
    const host = this.#catalog.get('host', id);
    if (host === undefined) throw new RestError('host_not_found', id);
    return host;
  }

  #group(id: string): HostGroupDocument {
    const group = this.#catalog.get('host_group', id);
    if (group === undefined) throw new RestError('not_found', 'host_group', id);
    return group;
  }
}
