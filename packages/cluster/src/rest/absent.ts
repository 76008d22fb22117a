/**
 * Collections of PowerStore that are part of how its clients look at a volume or a cluster, and of which there is nothing here: they are
 * answered as empty, because that is true, and because clients ask for them on the way to something else.
 */
export const absentCollections: readonly string[] = [
  'eth_port',
  'fc_port',
  'hardware',
  'ip_pool_address',
  'migration_session',
  'replication_group',
];
