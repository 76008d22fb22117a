import { isIP } from 'node:net';
import type { NetworkInterfaceInfo } from 'node:os';
import { type EnumValue, roles } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import type { Documents } from '../catalog/documents.ts';
import { nodeOf } from '../supervisor/appliances.ts';

/** A place at which the cluster is reached. */
export interface Reached {
  readonly host: string;
  readonly purpose: EnumValue<'IpPurposeType'>;
}

export interface Machine {
  readonly appliances: readonly string[];
  readonly serial: string;
  readonly interfaces: Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;
  readonly nameServers: readonly string[];
  readonly reached: readonly Reached[];
}

type StatedTable =
  | 'role'
  | 'network'
  | 'ip_pool_address'
  | 'ip_port'
  | 'eth_port'
  | 'hardware'
  | 'chap_config'
  | 'dns'
  | 'ntp'
  | 'system_limit';

const networkTypes: Readonly<Partial<Record<EnumValue<'IpPurposeType'>, EnumValue<'NetworkType'>>>> = {
  Mgmt_Cluster_Floating: 'Management',
  External_Replication: 'Storage',
};
const usages: Readonly<Partial<Record<EnumValue<'IpPurposeType'>, EnumValue<'IpPortUsage'>>>> = {
  Mgmt_Cluster_Floating: 'Management',
  External_Replication: 'External_Replication',
};

/** Enters what the machine and the program are: networks, addresses, ports, parts, roles, limits. Only what is known is stated. */
export function enterMachine(catalog: Catalog, machine: Machine): void {
  const ports = ethPorts(machine);
  const addresses = machine.reached.filter(({ host }) => isIP(host) !== 0);
  const portOf = (host: string): string | null =>
    Object.entries(machine.interfaces).find(([, infos]) => infos?.some(({ address }) => address === host))?.[0] ?? null;
  const used = [...new Set(addresses.map(({ host }) => portOf(host)).filter((port) => port !== null))];
  catalog.transaction(() => {
    state(
      catalog,
      'eth_port',
      ports.map((port) => ({ ...port, is_in_use: used.includes(port.id) })),
    );
    state(
      catalog,
      'ip_port',
      used.map((port) => {
        const usage = addresses.filter(({ host }) => portOf(host) === port).map(({ purpose }) => usages[purpose]);
        return {
          id: `IP_${port}`,
          eth_port_id: port,
          target_iqn: null,
          available_usages: [...new Set(Object.values(usages))],
          current_usages: [...new Set(usage)],
        };
      }),
    );
    state(
      catalog,
      'network',
      addresses.map(({ host, purpose }, index) => ({
        id: `NW${index + 1}`,
        name:
          catalog.get('network', `NW${index + 1}`)?.name ??
          `Default ${(networkTypes[purpose] ?? 'Storage').replaceAll('_', ' ')} Network`,
        type: networkTypes[purpose] ?? 'Storage',
        purposes: purpose === 'External_Replication' ? ['External_Replication'] : [],
        ip_version: isIP(host) === 6 ? 'IPv6' : 'IPv4',
        prefix_length: prefixOf(machine, host),
        gateway: null,
        vlan_id: 0,
        mtu: null,
      })),
    );
    state(
      catalog,
      'ip_pool_address',
      addresses.map(({ host, purpose }, index) => ({
        id: `IP${index + 1}`,
        name: `${purpose} (${host})`,
        address: host,
        purposes: [purpose],
        network_id: `NW${index + 1}`,
        ip_port_id: portOf(host) === null ? null : `IP_${portOf(host)}`,
        appliance_id: 'A1',
        node_id: purpose === 'Mgmt_Cluster_Floating' ? null : 'N1',
      })),
    );
    const part = {
      serial_number: machine.serial,
      part_number: null,
      lifecycle_state: 'Healthy',
      stale_state: 'Not_Stale',
      status_led_state: 'Off',
      is_marked: false,
      extra_details: null,
      valid_upgrades: [],
    };
    state(
      catalog,
      'hardware',
      machine.appliances.flatMap((appliance_id) => {
        const enclosure = `BaseEnclosure-${appliance_id}`;
        const own = { ...part, appliance_id, slot: 0 };
        return [
          { ...own, id: enclosure, name: 'BaseEnclosure', type: 'Base_Enclosure' as const, parent_id: null },
          {
            ...own,
            id: nodeOf(appliance_id),
            name: 'BaseEnclosure-NodeA',
            type: 'Node' as const,
            parent_id: enclosure,
          },
        ];
      }),
    );
    state(catalog, 'chap_config', [{ id: '0', mode: 'Disabled' }]);
    state(catalog, 'dns', [{ id: 'DNS1', addresses: machine.nameServers }]);
    state(catalog, 'ntp', [{ id: 'NTP1', addresses: [] }]);
    state(
      catalog,
      'role',
      roles.map(({ id, name, description }) => ({ id, name, description, is_built_in: true })),
    );
    state(catalog, 'system_limit', [
      { id: 'Max_Volume_Size', limit: 281_474_976_710_656 },
      { id: 'Max_VirtualVolume_Size', limit: 0 },
      { id: 'Max_Folder_Size', limit: 0 },
    ]);
    if (catalog.get('security_config', '1') === undefined)
      catalog.put('security_config', {
        id: '1',
        idle_timeout: 36_000,
        protocol_mode: 'TLSv1_2',
        is_http_redirect_enabled: false,
        is_stig_enabled: false,
        is_fips_enabled: false,
        vasa_retain_certificate: false,
        cert_user_name_policy: null,
      });
  });
}

/** Makes a table hold these rows and no others. */
function state<T extends StatedTable>(catalog: Catalog, table: T, rows: readonly Documents[T][]): void {
  const stated = new Set(rows.map(({ id }) => id));
  for (const { id } of catalog.list(table)) if (!stated.has(id)) catalog.remove(table, id);
  for (const row of rows) catalog.put(table, row);
}

const ethPorts = ({ interfaces }: Machine) =>
  Object.entries(interfaces).map(([name, infos], index) => ({
    id: name,
    name,
    appliance_id: 'A1',
    node_id: 'N1',
    hardware_parent_id: 'N1',
    mac_address: infos?.[0]?.mac ?? null,
    permanent_mac_address: null,
    // The machine lists only interfaces that are up.
    is_link_up: true,
    current_speed: null,
    requested_speed: null,
    supported_speeds: [],
    current_mtu: null,
    port_index: index,
    stale_state: 'Not_Stale',
    is_hypervisor_managed: false,
  }));

function prefixOf({ interfaces }: Machine, host: string): number | null {
  for (const infos of Object.values(interfaces)) {
    const cidr = infos?.find(({ address }) => address === host)?.cidr;
    if (cidr != null) return Number(cidr.split('/')[1]);
  }
  return null;
}
