import {
  ApplianceModify,
  ChapConfigModify,
  ClusterModify,
  DnsModify,
  type EnumValue,
  EthPortModify,
  HardwareModify,
  IpPortModify,
  NetworkModify,
  NetworkScale,
  NtpModify,
  RestError,
} from '@antipode/contract';
import { Type } from 'typebox';
import type { Catalog } from '../catalog/catalog.ts';
import { type Documents, timestamp } from '../catalog/documents.ts';
import { isMediumRefusal } from '../catalog/medium-errors.ts';
import { type Handlers, handler } from '../rest/handlers.ts';
import type { Software } from '../software/version.ts';
import { firstAppliance, nodeOf } from '../supervisor/appliances.ts';

/** Enters what this cluster is: cluster, appliance, node, software. */
export function enterPlatform(
  catalog: Catalog,
  given: {
    readonly appliances: readonly string[];
    readonly serial: string;
    readonly name: string;
    readonly managementAddress: string;
    readonly now_ms: number;
    /** What runs. */
    readonly software: Software;
  },
): void {
  const known = catalog.get('cluster', '0');
  try {
    enter(catalog, given, known);
  } catch (error) {
    // A cluster that has been entered before starts on a full disk too: making room is what it is needed for.
    if (known === undefined || !isMediumRefusal(error)) throw error;
  }
}

function enter(
  catalog: Catalog,
  given: Parameters<typeof enterPlatform>[1],
  known: Documents['cluster'] | undefined,
): void {
  const installed = timestamp(given.now_ms);
  catalog.transaction(() => {
    catalog.put('cluster', {
      id: '0',
      global_id: given.serial,
      name: known?.name ?? given.name,
      management_address: given.managementAddress,
      storage_discovery_address: null,
      master_appliance_id: 'A1',
      primary_appliance_id: 'A1',
      appliance_count: given.appliances.length,
      physical_mtu: 1500,
      is_encryption_enabled: false,
      compatibility_level: 15,
      state: 'Configured' satisfies EnumValue<'ClusterState'>,
      nvm_subsystem_nqn: null,
    });
    const tag = given.serial.slice(-7).toUpperCase();
    for (const id of given.appliances) {
      const number = id.slice(1);
      catalog.put('appliance', {
        id,
        name: catalog.get('appliance', id)?.name ?? `${String(known?.name ?? given.name)}-appliance-${number}`,
        service_tag: id === firstAppliance ? tag : `${tag}-${number}`,
        express_service_code: null,
        model: 'Antipode',
        mode: 'Block',
        node_count: 1,
        drive_failure_tolerance_level: 'None',
        is_hyper_converged: false,
      });
      catalog.put('node', { id: nodeOf(id), name: `${id}-node-A`, slot: 0, appliance_id: id });
    }
    const software = { ...given.software, build_flavor: 'Retail' } as const;
    for (const row of [
      { id: 'cluster', is_cluster: true, appliance_id: null },
      ...given.appliances.map((id) => ({ id, is_cluster: false, appliance_id: id })),
    ]) {
      catalog.put('software_installed', {
        ...software,
        ...row,
        installed_date: sinceWhen(catalog, row.id, software.build_version) ?? installed,
      });
    }
  });
}

/** When the build that runs was installed, if it is not new. */
function sinceWhen(catalog: Catalog, id: string, build: string): unknown {
  const known = catalog.get('software_installed', id);
  return known?.build_version === build ? known.installed_date : undefined;
}

/**
 * Of the machine's making: what is said again is taken, anything else refused. Lists to add or take away: what is, or is not, there.
 */
function fixed(row: Readonly<Record<string, unknown>> | undefined, body: Readonly<Record<string, unknown>>): void {
  for (const [name, wanted] of Object.entries(body)) {
    const present = row?.[name];
    if (JSON.stringify(wanted) === JSON.stringify(present ?? null)) continue;
    if (Array.isArray(wanted) && wanted.length === 0) continue;
    throw new RestError('fixed_here', name, shown(present));
  }
}

const shown = (value: unknown): string => {
  if (Array.isArray(value)) return value.length === 0 ? 'empty' : value.join(', ');
  return value == null ? 'as the machine has it' : String(value);
};

export const platformHandlers = (catalog: Catalog, now_ms: () => number): Handlers => ({
  'cluster.modify': handler(ClusterModify, async (_, id, body) => {
    const cluster = catalog.get('cluster', id);
    if (cluster === undefined) throw new RestError('not_found', 'cluster', id);
    const { name, physical_mtu } = body;
    if (physical_mtu !== undefined && physical_mtu !== cluster.physical_mtu)
      throw new RestError('fixed_here', 'physical_mtu', String(cluster.physical_mtu));
    // Peers are told with the next heartbeat.
    if (name !== undefined) catalog.change('cluster', id, { name });
  }),
  'appliance.modify': handler(ApplianceModify, async (_, id, { name }) => {
    const taken = catalog.list('appliance').some((one) => one.id !== id && one.name === name);
    if (taken) throw new RestError('appliance_name_in_use', name);
    catalog.change('appliance', id, { name });
  }),
  'network.modify': handler(NetworkModify, async (_, id, { name, force, ...rest }) => {
    fixed(catalog.get('network', id), rest);
    if (name === undefined) return;
    const taken = catalog.list('network').some((one) => one.id !== id && one.name === name);
    if (taken) throw new RestError('fixed_here', 'name', `that of another network, ${name},`);
    catalog.change('network', id, { name });
  }),
  'network.scale': handler(NetworkScale, async (_, id, { force, ...rest }) => fixed(catalog.get('network', id), rest)),
  'ip_port.modify': handler(IpPortModify, async (_, id, body) => fixed(catalog.get('ip_port', id), body)),
  'eth_port.modify': handler(EthPortModify, async (_, id, body) => fixed(catalog.get('eth_port', id), body)),
  'hardware.modify': handler(HardwareModify, async (_, id, body) => fixed(catalog.get('hardware', id), body)),
  'dns.modify': handler(DnsModify, async (_, id, body) => fixed(catalog.get('dns', id), body)),
  'ntp.modify': handler(NtpModify, async (_, id, body) => fixed(catalog.get('ntp', id), body)),
  'chap_config.modify': handler(ChapConfigModify, async (_, id, { mode }) => {
    const present = catalog.get('chap_config', id)?.mode;
    if (mode !== present) throw new RestError('fixed_here', 'mode', String(present));
  }),
  'alert.modify': handler(Type.Object({ is_acknowledged: Type.Boolean() }), async (_, id, body) => {
    if (catalog.get('alert', id) === undefined) throw new RestError('not_found', 'alert', id);
    catalog.change('alert', id, {
      is_acknowledged: body.is_acknowledged,
      acknowledged_timestamp: body.is_acknowledged ? timestamp(now_ms()) : null,
    });
  }),
});
