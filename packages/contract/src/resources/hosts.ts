import { Type } from 'typebox';
import { Body, Flag, Name, OneOf, Opt, Ref, Refs, Text } from '../bodies.ts';
import { has, hasMany, integer, listOf, none, one, type ResourceSpec, text } from '../resource.ts';
import { HostInitiatorShape, Nothing } from '../shapes.ts';

const PortName = () => Type.String({ minLength: 1, maxLength: 223, pattern: '^[^\\u0000-\\u0020\\u007f-\\u009f]+$' });
const ChapUser = () => Type.String({ minLength: 1, maxLength: 64 });
const ChapSecret = () => Type.String({ minLength: 12, maxLength: 64 });
const chap = {
  chap_single_username: Opt(ChapUser()),
  chap_single_password: Opt(ChapSecret()),
  chap_mutual_username: Opt(ChapUser()),
  chap_mutual_password: Opt(ChapSecret()),
};
const InitiatorGiven = Body({ port_name: PortName(), port_type: OneOf('InitiatorProtocolType'), ...chap });
const InitiatorChanged = Body({ port_name: PortName(), ...chap });
const initiatorsMost = 64;

export const HostCreate = Body({
  name: Name(),
  os_type: OneOf('OSType'),
  initiators: Type.Array(InitiatorGiven, { minItems: 1, maxItems: initiatorsMost }),
  description: Opt(Text(256)),
  host_connectivity: Opt(OneOf('HostConnectivity')),
  // Outside the published interface; the CSI driver sends it.
  metadata: Opt(Type.Record(Type.String(), Type.String())),
});
export const HostModify = Body({
  name: Opt(Name()),
  description: Opt(Text(256)),
  host_connectivity: Opt(OneOf('HostConnectivity')),
  add_initiators: Opt(Type.Array(InitiatorGiven, { minItems: 1, maxItems: initiatorsMost })),
  remove_initiators: Opt(Type.Array(PortName(), { minItems: 1, maxItems: initiatorsMost })),
  modify_initiators: Opt(Type.Array(InitiatorChanged, { minItems: 1, maxItems: initiatorsMost })),
});

const Lun = () => Type.Integer({ minimum: 0, maximum: 16_383 });
/** Which volume, asked of a host or a host group. */
export const OwnerAttach = Body({ volume_id: Ref(), logical_unit_number: Opt(Lun()) });
export const OwnerDetach = Body({ volume_id: Ref() });
/** Which host or host group, asked of a volume. */
export const VolumeAttach = Body({
  host_id: Opt(Ref()),
  host_group_id: Opt(Ref()),
  logical_unit_number: Opt(Lun()),
});
export const VolumeDetach = Body({
  host_id: Opt(Ref()),
  host_group_id: Opt(Ref()),
  clear_host_agent_data: Opt(Flag()),
});

const mapping = {
  attach: { summary: 'Let it reach a volume.', body: OwnerAttach, required: true },
  detach: { summary: 'Let it reach a volume no more; open connections end.', body: OwnerDetach, required: true },
} as const;

export const host: ResourceSpec = {
  name: 'host',
  description: 'A machine that reaches volumes, known by its initiators.',
  byName: true,
  fields: {
    id: text('Identity.'),
    name: text('Name, unique among hosts.'),
    description: text('Free text.'),
    host_group_id: text('Group that it is in.'),
    type: one('HostType', 'Whether it is a machine outside this cluster.'),
    os_type: one('OSType', 'Operating system.'),
    host_connectivity: one('HostConnectivity', 'How it reaches both sides of a metro volume.'),
    import_host_system_id: text('Import that it takes part in.'),
    host_initiators: listOf(HostInitiatorShape, 'Its initiators, as older clients read them.'),
  },
  associations: {
    host_group: has('host_group', 'host_group_id'),
    initiators: hasMany('initiator', 'host_id'),
    mapped_hosts: hasMany('host_volume_mapping', 'host_id'),
    host_virtual_volume_mappings: none('host_virtual_volume_mapping', 'many'),
    import_host_system: none('import_host_system', 'one'),
    vsphere_hosts: none('vsphere_host', 'many'),
  },
  create: { body: HostCreate },
  modify: { body: HostModify },
  remove: {},
  actions: mapping,
};

export const HostGroupCreate = Body({
  name: Name(),
  host_ids: Type.Array(Ref(), { minItems: 1, maxItems: 1000 }),
  description: Opt(Text(256)),
});
export const HostGroupModify = Body({
  name: Opt(Name()),
  description: Opt(Text(256)),
  host_connectivity: Opt(OneOf('HostConnectivity')),
  add_host_ids: Opt(Refs()),
  remove_host_ids: Opt(Refs()),
});

export const hostGroup: ResourceSpec = {
  name: 'host_group',
  description: 'Hosts that reach the same volumes.',
  byName: true,
  fields: {
    id: text('Identity.'),
    name: text('Name, unique among host groups.'),
    description: text('Free text.'),
    host_connectivity: one('HostConnectivity', 'How its hosts reach both sides of a metro volume.'),
  },
  associations: {
    hosts: hasMany('host', 'host_group_id'),
    mapped_host_groups: hasMany('host_volume_mapping', 'host_group_id'),
    host_virtual_volume_mappings: none('host_virtual_volume_mapping', 'many'),
  },
  create: { body: HostGroupCreate },
  modify: { body: HostGroupModify },
  remove: {},
  actions: mapping,
};

export const initiator: ResourceSpec = {
  name: 'initiator',
  description: 'A port by which a host is known.',
  byName: false,
  fields: {
    id: text('Identity.'),
    host_id: text('Host that it belongs to.'),
    port_name: text('IQN, NQN or world-wide name; NBD hosts: the name in their certificate.'),
    port_type: one('InitiatorProtocolType', 'Protocol.'),
    chap_single_username: text('User of single CHAP.'),
    chap_mutual_username: text('User of mutual CHAP.'),
    active_sessions: listOf(Nothing(), 'Sessions that are logged in; NBD has none.'),
  },
  associations: { host: has('host', 'host_id') },
  actions: {},
};

export const hostVolumeMapping: ResourceSpec = {
  name: 'host_volume_mapping',
  description: 'A volume that a host or a host group reaches.',
  byName: false,
  fields: {
    id: text('Identity.'),
    host_id: text('Host; empty where a group reaches it.'),
    host_group_id: text('Host group; empty where a host reaches it.'),
    volume_id: text('Volume.'),
    logical_unit_number: integer('Number under which the host finds it.'),
  },
  associations: {
    host: has('host', 'host_id'),
    host_group: has('host_group', 'host_group_id'),
    volume: has('volume', 'volume_id'),
  },
  actions: {},
};

export const hostResources = [host, hostGroup, initiator, hostVolumeMapping] as const;
