import { Type } from 'typebox';
import { Body, Flag, Name, OneOf, Opt, Ref, Text } from '../bodies.ts';
import {
  flag,
  has,
  hasMany,
  integer,
  list,
  listOf,
  none,
  objectOf,
  one,
  type ResourceSpec,
  text,
} from '../resource.ts';
import { Nothing, Texts } from '../shapes.ts';

const readOnly = { byName: false, associations: {}, actions: {} } as const;
const onAppliance = { appliance: has('appliance', 'appliance_id') } as const;

// What follows is the machine's: what is can be said again, and not changed; names are the cluster's.
export const IpPortModify = Body({
  network_id: Opt(Ref()),
  network_ids: Opt(Type.Array(Ref(), { minItems: 1, maxItems: 64 })),
  add_current_usages: Opt(Type.Array(OneOf('IpPortUsage'), { maxItems: 32 })),
  remove_current_usages: Opt(Type.Array(OneOf('IpPortUsage'), { maxItems: 32 })),
});
export const EthPortModify = Body({ requested_speed: OneOf('EthPortSpeed') });
export const HardwareModify = Body({ is_marked: Flag() });
const Addressed = () => Opt(Type.Array(Text(45), { maxItems: 64 }));
const Purposes = () => Opt(Type.Array(OneOf('NetworkPurpose'), { maxItems: 8 }));
export const NetworkModify = Body({
  name: Opt(Name()),
  vlan_id: Opt(Type.Integer({ minimum: 0, maximum: 4094 })),
  gateway: Opt(Text(45)),
  prefix_length: Opt(Type.Integer({ minimum: 1, maximum: 127 })),
  mtu: Opt(Type.Integer({ minimum: 1280, maximum: 9000 })),
  cluster_mgmt_address: Opt(Text(253)),
  storage_discovery_address: Opt(Text(253)),
  add_addresses: Addressed(),
  remove_addresses: Addressed(),
  add_purposes: Purposes(),
  remove_purposes: Purposes(),
  force: Opt(Flag()),
});
export const NetworkScale = Body({
  add_port_ids: Opt(Type.Array(Ref(), { maxItems: 64 })),
  remove_port_ids: Opt(Type.Array(Ref(), { maxItems: 64 })),
  add_purposes_subset: Purposes(),
  force: Opt(Flag()),
});

export const network: ResourceSpec = {
  ...readOnly,
  name: 'network',
  description: 'A network that this cluster has addresses in.',
  byName: true,
  fields: {
    id: text('Identity.'),
    name: text('Name.'),
    type: one('NetworkType', 'What it carries.'),
    purposes: list('What a storage network is used for.', 'NetworkPurpose'),
    ip_version: one('IpVersionType', 'Version of its addresses.'),
    prefix_length: integer('Bits of an address that name the network.'),
    gateway: text('Way out of it; not known here.'),
    vlan_id: integer('VLAN; the machine decides.'),
    mtu: integer('Largest frame; the machine decides.'),
    nvme_discovery_mode: one('NVMeDiscoveryMode', 'How NVMe hosts find it.'),
    nvme_cdc_address: text('Central discovery controller.'),
    nvme_cdc_port: integer('Its port.'),
  },
  associations: { ip_pool_addresses: hasMany('ip_pool_address', 'network_id') },
  modify: { body: NetworkModify },
  actions: {
    scale: { summary: 'Which ports carry it; the machine decides.', body: NetworkScale },
  },
};

export const ipPoolAddress: ResourceSpec = {
  ...readOnly,
  name: 'ip_pool_address',
  description: 'An address at which this cluster is reached.',
  byName: true,
  fields: {
    id: text('Identity.'),
    name: text('Name.'),
    address: text('The address.'),
    purposes: list('What is reached at it.', 'IpPurposeType'),
    network_id: text('Network.'),
    ip_port_id: text('Port.'),
    appliance_id: text('Appliance.'),
    node_id: text('Node.'),
  },
  associations: {
    ...onAppliance,
    network: has('network', 'network_id'),
    ip_port: has('ip_port', 'ip_port_id'),
    node: has('node', 'node_id'),
    nvme_discovered_cdcs: none('nvme_discovered_cdc', 'many'),
  },
};

export const ipPort: ResourceSpec = {
  ...readOnly,
  name: 'ip_port',
  description: 'A port with addresses.',
  fields: {
    id: text('Identity.'),
    partner_id: text('Port of the other node.'),
    target_iqn: text('IQN of the iSCSI target behind it.'),
    available_usages: list('What it can be used for.', 'IpPortUsage'),
    current_usages: list('What it is used for.', 'IpPortUsage'),
    bond_id: text('Bond.'),
    eth_port_id: text('Ethernet port.'),
    veth_port_id: text('Virtual port.'),
    fsn_id: text('Fail-safe network.'),
  },
  associations: {
    partner: has('ip_port', 'partner_id'),
    eth_port: has('eth_port', 'eth_port_id'),
    veth_port: none('veth_port', 'one'),
    bond: none('bond', 'one'),
    fsn: none('fsn', 'one'),
    ip_pool_addresses: hasMany('ip_pool_address', 'ip_port_id'),
    file_interfaces: none('file_interface', 'many'),
  },
  modify: { body: IpPortModify },
};

export const ethPort: ResourceSpec = {
  ...readOnly,
  name: 'eth_port',
  description: 'A network interface of the machine.',
  byName: true,
  fields: {
    id: text('Identity.'),
    name: text('Name that the machine gives it.'),
    appliance_id: text('Appliance.'),
    node_id: text('Node.'),
    mac_address: text('Hardware address.'),
    permanent_mac_address: text('Hardware address that it came with.'),
    is_link_up: flag('It is connected.'),
    is_in_use: flag('The cluster has an address on it.'),
    current_speed: one('EthPortSpeed', 'Speed.'),
    requested_speed: one('EthPortSpeed', 'Speed that is asked for.'),
    supported_speeds: list('Speeds that it knows.', 'EthPortSpeed'),
    current_mtu: integer('Largest frame.'),
    port_index: integer('Place.'),
    port_connector_type: one('FrontEndPortConnectionType', 'Connector.'),
    partner_id: text('Port of the other node.'),
    bond_id: text('Bond.'),
    fsn_id: text('Fail-safe network.'),
    sfp_id: text('Transceiver.'),
    io_module_id: text('Module.'),
    hardware_parent_id: text('Hardware that it is part of.'),
    hypervisor_port_id: integer('Port of a virtual switch.'),
    hypervisor_port_name: text('Its name.'),
    hypervisor_vswitch_id: text('Virtual switch.'),
    hypervisor_vswitch_name: text('Its name.'),
    is_hypervisor_managed: flag('A hypervisor manages it.'),
    stale_state: one('PortStaleState', 'Whether it is still there.'),
    l2_discovery_details: objectOf(Type.Null(), 'What it is connected to.'),
  },
  associations: {
    ...onAppliance,
    node: has('hardware', 'node_id'),
    hardware_parent: has('hardware', 'hardware_parent_id'),
    ip_ports: hasMany('ip_port', 'eth_port_id'),
    partner: none('eth_port', 'one'),
    bond: none('bond', 'one'),
    fsn: none('fsn', 'one'),
    sfp: none('hardware', 'one'),
    io_module: none('hardware', 'one'),
  },
  modify: { body: EthPortModify },
};

export const hardware: ResourceSpec = {
  ...readOnly,
  name: 'hardware',
  description: 'A part of an appliance, as far as software has parts.',
  byName: true,
  fields: {
    id: text('Identity.'),
    name: text('Name.'),
    type: one('HardwareType', 'Kind of part.'),
    appliance_id: text('Appliance.'),
    parent_id: text('Part that it is in.'),
    slot: integer('Slot.'),
    serial_number: text('Serial number.'),
    part_number: text('Part number.'),
    lifecycle_state: one('HardwareLifecycleState', 'Health.'),
    stale_state: one('HardwareStaleState', 'Whether it is still there.'),
    status_led_state: one('HardwareStatusLEDState', 'Its light.'),
    is_marked: flag('Its light is on so that somebody finds it.'),
    extra_details: objectOf(Type.Null(), 'More about it.'),
    valid_upgrades: listOf(Nothing(), 'What it could become.'),
  },
  associations: {
    ...onAppliance,
    parent: has('hardware', 'parent_id'),
    children: hasMany('hardware', 'parent_id'),
    hardware_parent_eth_ports: hasMany('eth_port', 'hardware_parent_id'),
    node_eth_ports: hasMany('eth_port', 'node_id'),
    hardware_parent_eth_be_ports: none('eth_be_port', 'many'),
    hardware_parent_fc_ports: none('fc_port', 'many'),
    hardware_parent_sas_ports: none('sas_port', 'many'),
    io_module_eth_ports: none('eth_port', 'many'),
    io_module_fc_ports: none('fc_port', 'many'),
    io_module_sas_ports: none('sas_port', 'many'),
    node_eth_be_ports: none('eth_be_port', 'many'),
    node_fc_ports: none('fc_port', 'many'),
    node_sas_ports: none('sas_port', 'many'),
    sfp_eth_be_ports: none('eth_be_port', 'many'),
    sfp_eth_ports: none('eth_port', 'many'),
    sfp_fc_ports: none('fc_port', 'many'),
    sfp_sas_ports: none('sas_port', 'many'),
  },
  modify: { body: HardwareModify },
};

export const ChapConfigModify = Body({ mode: OneOf('RemoteSystemChapMode') });

export const chapConfig: ResourceSpec = {
  ...readOnly,
  name: 'chap_config',
  description: 'Whether iSCSI hosts have to prove who they are.',
  fields: { id: text('Always "0".'), mode: one('RemoteSystemChapMode', 'Kind of CHAP.') },
  modify: { body: ChapConfigModify },
};

/** Of the machine's making: what is can be said again, and not changed. */
const Addresses = () => Body({ addresses: Type.Array(Text(253), { minItems: 1, maxItems: 3 }) });
export const DnsModify = Addresses();
export const NtpModify = Addresses();
const addresses = { id: text('Identity.'), addresses: listOf(Texts(), 'Addresses.') } as const;
export const dns: ResourceSpec = {
  ...readOnly,
  name: 'dns',
  description: 'Name servers of the machine.',
  fields: addresses,
  modify: { body: DnsModify },
};
export const ntp: ResourceSpec = {
  ...readOnly,
  name: 'ntp',
  description: 'Time servers; the machine keeps the time, and does not say how.',
  fields: addresses,
  modify: { body: NtpModify },
};

export const limit: ResourceSpec = {
  ...readOnly,
  name: 'limit',
  description: 'Largest sizes.',
  hidden: 'on_request',
  fields: { id: text('Which limit.'), limit: integer('The limit.') },
};

export const networkResources = [
  network,
  ipPoolAddress,
  ipPort,
  ethPort,
  hardware,
  chapConfig,
  dns,
  ntp,
  limit,
] as const;
