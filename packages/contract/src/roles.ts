/** A role that comes with the system. Ids are PowerStore's where they are known; the others are ours. */
export interface Role {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  /** Areas in which it may change something. Everybody may read, log out, and change the own password. */
  readonly areas: readonly Area[];
  /** It may also do what takes data away or puts other data in its place. */
  readonly destroys: boolean;
}

export type Area = 'storage' | 'system' | 'security';

export const roles = [
  {
    id: '1',
    name: 'Administrator',
    description: 'Does everything.',
    areas: ['storage', 'system', 'security'],
    destroys: true,
  },
  {
    id: '2',
    name: 'Storage Administrator',
    description: 'Manages volumes, hosts, protection and replication.',
    areas: ['storage'],
    destroys: true,
  },
  { id: '3', name: 'Operator', description: 'Looks, and changes nothing.', areas: [], destroys: false },
  {
    id: '4',
    name: 'VM Administrator',
    description: 'Manages virtual volumes, of which there are none here: looks, and changes nothing.',
    areas: [],
    destroys: false,
  },
  {
    id: '5',
    name: 'Security Administrator',
    description: 'Manages users other than administrators, logins and certificates.',
    areas: ['security'],
    destroys: true,
  },
  {
    id: '6',
    name: 'Storage Operator',
    description:
      'Manages storage as a storage administrator does, but takes nothing away: no delete, restore, refresh or failover.',
    areas: ['storage'],
    destroys: false,
  },
] as const satisfies readonly Role[];

export const administratorRole = '1';
export const operatorRole = '3';

const areas: Readonly<Record<string, Area>> = {
  local_user: 'security',
  security_config: 'security',
  x509_certificate: 'security',
  cluster: 'system',
  chap_config: 'system',
  appliance: 'system',
  network: 'system',
  ip_port: 'system',
  eth_port: 'system',
  hardware: 'system',
  dns: 'system',
  ntp: 'system',
  remote_system: 'system',
  software_package: 'system',
};

/** Operations that take data away or put other data in its place. */
const destructive = new Set([
  'delete',
  'restore',
  'refresh',
  'failover',
  'reprotect',
  'start_failover_test',
  'stop_failover_test',
]);

/** What everybody does for oneself. */
const harmless = new Set(['login_session.logout']);

/** Whether a holder of roles may carry an operation out: `volume.create`. What is of no area is the administrator's. */
export function mayDo(roleIds: readonly string[], operation: string): boolean {
  if (harmless.has(operation)) return true;
  const [resource = '', action = ''] = operation.split('.');
  const area = areas[resource] ?? (storageResource.has(resource) ? 'storage' : undefined);
  return roles.some((role: Role) => {
    if (!roleIds.includes(role.id)) return false;
    if (role.id === administratorRole) return true;
    return area !== undefined && role.areas.includes(area) && (role.destroys || !destructive.has(action));
  });
}

const storageResource = new Set([
  'volume',
  'volume_group',
  'host',
  'host_group',
  'policy',
  'replication_rule',
  'snapshot_rule',
  'replication_session',
  'replication_group',
  'io_limit_rule',
  'migration_session',
  'alert',
]);
