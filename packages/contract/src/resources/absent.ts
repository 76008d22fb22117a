/**
 * Collections of PowerStore that are part of how its clients look at a volume or a cluster, and of which there is nothing here: they are
 * answered as empty, because that is true, and because clients ask for them on the way to something else.
 */
export const absentCollections: readonly string[] = [
  'bond',
  'datastore',
  'discovered_appliance',
  'discovered_initiator',
  'email_notify_destination',
  'fc_port',
  'host_virtual_volume_mapping',
  'import_session',
  'ldap_account',
  'ldap_domain',
  'migration_recommendation',
  'performance_rule',
  'remote_support',
  'remote_support_contact',
  'replication_group',
  'sas_port',
  'service_config',
  'service_user',
  'smtp_config',
  'snmp_server',
  'storage_container',
  'storage_container_destination',
  'vcenter',
  'veth_port',
  'virtual_machine',
  'virtual_volume',
  'vsphere_host',
  'witness',
];

/** The same of file services, which nobody can create here either. */
export const absentFiles: readonly string[] = [
  'file_dns',
  'file_interface',
  'file_io_limit_rule',
  'file_kerberos',
  'file_ldap',
  'file_nis',
  'file_system',
  'file_tree_quota',
  'file_user_quota',
  'nas_server',
  'nas_server_list_cma_view',
  'nfs_export',
  'nfs_server',
  'smb_server',
  'smb_share',
];
