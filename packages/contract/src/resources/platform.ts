import { Type } from 'typebox';
import { Body, Flag, Name, Nullable, OneOf, Opt, Text, Timestamp } from '../bodies.ts';
import {
  flag,
  has,
  hasMany,
  integer,
  listOf,
  none,
  objectOf,
  one,
  phrase,
  type ResourceSpec,
  text,
  time,
} from '../resource.ts';
import { ResponseShape, Texts } from '../shapes.ts';

const readOnly = { byName: false, associations: {}, actions: {} } as const;

export const ClusterModify = Body({
  name: Opt(Type.String({ minLength: 1, maxLength: 64, pattern: '^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$' })),
  // Of the machine's making: it can be said again, and not changed.
  physical_mtu: Opt(Type.Integer({ minimum: 1500, maximum: 9000 })),
});

export const cluster: ResourceSpec = {
  ...readOnly,
  name: 'cluster',
  description: 'This cluster.',
  simple: true,
  fields: {
    id: text('Always "0".'),
    global_id: text('Serial: what peers know it by.'),
    name: text('Name.'),
    management_address: text('Where it is managed.'),
    storage_discovery_address: text('Where hosts discover its storage.'),
    master_appliance_id: text('Older name of the primary appliance.'),
    primary_appliance_id: text('Primary appliance.'),
    appliance_count: integer('Appliances.'),
    physical_mtu: integer('Largest frame of its network.'),
    is_encryption_enabled: flag('Stored data is encrypted.'),
    compatibility_level: integer('Level that peers compare.'),
    state: one('ClusterState', 'State.'),
    system_time: time('Its clock.'),
    nvm_subsystem_nqn: text('NVMe name.'),
  },
  modify: { body: ClusterModify },
};

export const ApplianceModify = Body({ name: Name(64) });

export const appliance: ResourceSpec = {
  ...readOnly,
  name: 'appliance',
  description: 'One place where blocks live.',
  byName: true,
  fields: {
    id: text('Identity.'),
    name: text('Name.'),
    service_tag: text('Service tag.'),
    express_service_code: text('Service code.'),
    model: text('Model.'),
    mode: one('ApplianceMode', 'What it serves.'),
    node_count: integer('Nodes.'),
    drive_failure_tolerance_level: one('DriveFailureToleranceLevel', 'How many drives may fail.'),
    storage_class: one('ApplianceStorageClass', 'Kind of drives.'),
    is_hyper_converged: flag('It runs guests as well.'),
  },
  associations: {
    nodes: hasMany('node', 'appliance_id'),
    software_installed: hasMany('software_installed', 'appliance_id'),
    eth_be_ports: none('eth_be_port', 'many'),
    eth_ports: hasMany('eth_port', 'appliance_id'),
    fc_ports: none('fc_port', 'many'),
    fsns: none('fsn', 'many'),
    hardware: hasMany('hardware', 'appliance_id'),
    ip_pool_addresses: hasMany('ip_pool_address', 'appliance_id'),
    maintenance_windows: none('maintenance_window', 'many'),
    sas_ports: none('sas_port', 'many'),
    veth_ports: none('veth_port', 'many'),
    virtual_volumes: none('virtual_volume', 'many'),
    volumes: hasMany('volume', 'appliance_id'),
  },
  modify: { body: ApplianceModify },
};

export const node: ResourceSpec = {
  ...readOnly,
  name: 'node',
  description: 'A process that serves an appliance.',
  fields: {
    id: text('Identity.'),
    // Not in the published interface; Ansible selects it.
    name: text('Name.'),
    slot: integer('Slot.'),
    appliance_id: text('Appliance.'),
  },
  associations: {
    appliance: has('appliance', 'appliance_id'),
    ip_pool_addresses: hasMany('ip_pool_address', 'node_id'),
    veth_ports: none('veth_port', 'many'),
  },
};

export const softwareInstalled: ResourceSpec = {
  ...readOnly,
  name: 'software_installed',
  description: 'The software that runs: one row an appliance, one for the cluster.',
  fields: {
    id: text('Identity.'),
    is_cluster: flag('The row of the cluster.'),
    release_version: text('Version of the interface.'),
    build_version: text('Version of the build.'),
    release_timestamp: time('When it was released.'),
    installed_date: time('When it was installed.'),
    build_id: text('Build.'),
    build_flavor: one('SoftwareInstalledBuildFlavor', 'Flavor.'),
    build_type: one('SoftwareInstalledBuildType', 'Type.'),
  },
  associations: { appliance: has('appliance', 'appliance_id') },
};

export const softwarePackage: ResourceSpec = {
  name: 'software_package',
  description: 'A release of the software that is here and can be installed.',
  byName: true,
  fields: {
    id: text('Identity.'),
    name: text('Name.'),
    description_l10n: text('In words.'),
    software_package_type: one('SoftwarePackageType', 'Kind.'),
    software_package_state: one('SoftwarePackageState', 'State.'),
    release_version: text('Version of the interface.'),
    build_version: text('Version of the build.'),
    build_id: text('Build.'),
    build_flavor: one('SoftwarePackageBuildFlavor', 'Flavor.'),
    build_type: one('SoftwarePackageBuildType', 'Type.'),
    release_timestamp: time('When it was released.'),
    installed_date: time('When it was installed.'),
    dependent_version: text('Oldest build that can be upgraded to it.'),
    size: integer('Bytes of its files.'),
    is_reboot_required: flag('Hosts would lose access for long.'),
    is_urgent: flag('It should be installed soon.'),
    is_autodownloaded: flag('The system fetched it by itself.'),
    kb_article_link: text('More about it.'),
    justification_l10n: text('Why it should be installed.'),
  },
  associations: {},
  create: { body: Body({}), upload: 'upload_file' },
  remove: {},
  actions: {
    puhc: { summary: 'Look whether this release could be installed now.', body: Body({}) },
    install: {
      summary: 'Exchange the processes of the cluster for those of this release, one at a time.',
      body: Body({}),
    },
  },
};

export const loginSession: ResourceSpec = {
  ...readOnly,
  name: 'login_session',
  description: 'The session of whoever asks.',
  simple: true,
  noInstance: true,
  fields: {
    id: text('Identity.'),
    user: text('User.'),
    role_ids: listOf(Texts(), 'Roles.'),
    idle_timeout: integer('Seconds until an unused session ends.'),
    is_password_change_required: flag('The password must be changed first.'),
    is_built_in_user: flag('The user came with the system.'),
  },
};

export const CertificateExchange = Body({
  service: OneOf('X509CertificateService'),
  address: Type.String({ minLength: 1, maxLength: 256 }),
  port: Type.Integer({ minimum: 1, maximum: 65_535 }),
  username: Type.String({ minLength: 1, maxLength: 256 }),
  password: Text(256),
});

/** PEM, a chain from the certificate itself on. */
const Pem = () => Type.String({ minLength: 1, maxLength: 65_536 });
const usage = { type: OneOf('X509CertificateUsageType'), service: OneOf('X509CertificateService') };
const Part = (most: number) => Opt(Text(most));
export const CertificateCreate = Body({
  ...usage,
  certificate: Pem(),
  scope: Part(256),
  private_key: Opt(Pem()),
  passphrase: Part(1024),
  is_current: Opt(Flag()),
});
export const CertificateModify = Body({ is_current: Flag(), certificate: Opt(Pem()) });
export const CertificateReset = Body({ service: OneOf('X509CertificateService'), scope: Part(256) });
export const CertificateRequest = Body({
  ...usage,
  key_length: Type.Integer({ minimum: 2048, maximum: 4096 }),
  scope: Part(256),
  common_name: Part(64),
  organization: Part(64),
  organizational_unit: Part(64),
  locality: Part(128),
  state: Part(128),
  country: Opt(Type.String({ pattern: '^[A-Za-z]{2}$' })),
  dns_name: Opt(Type.Array(Type.String({ minLength: 1, maxLength: 253 }), { maxItems: 64 })),
  ip_addresses: Opt(Type.Array(Type.String({ minLength: 2, maxLength: 45 }), { maxItems: 64 })),
});
/** One certificate of a chain. */
export const CertificateMember = Type.Object({
  subject: Type.String(),
  issuer: Type.String(),
  serial_number: Type.String(),
  signature_algorithm: Nullable(Type.String()),
  public_key_algorithm: Nullable(Type.String()),
  key_length: Nullable(Type.Integer()),
  subject_alternative_names: Type.Array(Type.String()),
  thumbprint_algorithm: OneOf('ThumbprintAlgorithm'),
  thumbprint_algorithm_l10n: Type.String(),
  thumbprint: Type.String(),
  valid_from: Timestamp(),
  valid_to: Timestamp(),
  depth: Type.Integer({ minimum: 1 }),
  certificate: Type.String(),
});
const CertificateRequested = Type.Object({
  id: Type.String(),
  ...usage,
  type_l10n: Type.String(),
  service_l10n: Type.String(),
  scope: Type.String(),
  is_current: Flag(),
  is_valid: Flag(),
  members: Type.Array(CertificateMember),
  certificate_request: Type.String(),
});

export const x509Certificate: ResourceSpec = {
  ...readOnly,
  name: 'x509_certificate',
  description: 'Certificates of this cluster and of those that it trusts.',
  simple: true,
  fields: {
    id: text('Identity.'),
    type: one('X509CertificateUsageType', 'What it proves.'),
    service: one('X509CertificateService', 'What it is used for.'),
    scope: text('Serial of the peer that it belongs to.'),
    is_current: flag('It is in use.'),
    is_valid: flag('It is valid now.'),
    members: listOf(CertificateMember, 'The chain, from the certificate itself on.'),
  },
  create: { body: CertificateCreate },
  modify: { body: CertificateModify },
  collectionActions: {
    csr: {
      summary:
        'Make a key, which stays here, and a request that an authority can sign; PATCH the id with what it signed.',
      body: CertificateRequest,
      required: true,
      answer: CertificateRequested,
    },
    reset_certificates: {
      summary: 'Serve a new certificate that this cluster signs itself, and forget all others of the service.',
      body: CertificateReset,
      required: true,
    },
    exchange: {
      summary: 'Exchange certificates with another cluster, so that the two can be paired.',
      body: CertificateExchange,
      required: true,
    },
  },
};

export const job: ResourceSpec = {
  ...readOnly,
  name: 'job',
  description: 'What a changing request did, or is doing.',
  fields: {
    id: text('Identity.'),
    resource_action: phrase('What was asked for.'),
    resource_type: phrase('Kind of resource.'),
    resource_id: text('The resource.'),
    resource_name: text('Its name.'),
    description_l10n: text('In words.'),
    state: one('JobState', 'State.'),
    phase: one('JobPhase', 'State, newer name.'),
    start_time: time('Start.'),
    end_time: time('End.'),
    estimated_completion_time: time('Expected end.'),
    progress_percentage: integer('Progress.'),
    parent_id: text('Job that this is a part of.'),
    root_id: text('Job that began it all.'),
    user: text('Who asked.'),
    response_body: objectOf(ResponseShape, 'What it answered.'),
    response_status: one('HttpStatus', 'Status of the answer.'),
    step_order: integer('Order among parts.'),
  },
  associations: {
    children: hasMany('job', 'parent_id'),
    parent: has('job', 'parent_id'),
    root: has('job', 'root_id'),
    leafs: hasMany('job', 'leaf_of'),
  },
};

const occurrence = {
  id: text('Identity.'),
  event_code: text('Stable code.'),
  severity: one('Severity', 'How bad it is.'),
  resource_type: phrase('Kind of resource.'),
  resource_id: text('The resource.'),
  resource_name: text('Its name.'),
  generated_timestamp: time('When.'),
  description_l10n: text('What happened.'),
  system_impact_l10n: text('What it means.'),
  repair_flow_l10n: text('What to do.'),
} as const;

export const event: ResourceSpec = {
  ...readOnly,
  name: 'event',
  description: 'Something that happened.',
  fields: occurrence,
};

export const alert: ResourceSpec = {
  ...readOnly,
  name: 'alert',
  description: 'Something that needs attention, until it is over.',
  fields: {
    ...occurrence,
    state: one('AlertState', 'Whether it is over.'),
    is_acknowledged: flag('Somebody has seen it.'),
    acknowledged_timestamp: time('When it was seen.'),
    raised_timestamp: time('When it began.'),
    cleared_timestamp: time('When it was over.'),
    email_sent_timestamp: time('When it was mailed.'),
    snmp_sent_timestamp: time('When it was trapped.'),
    called_home_timestamp: time('When support was told.'),
    events: listOf(Type.Ref('#/components/schemas/event_instance'), 'What led to it.'),
  },
  modify: { body: Body({ is_acknowledged: Type.Boolean(), acknowledged_severity: Opt(OneOf('Severity')) }) },
};

export const auditEvent: ResourceSpec = {
  ...readOnly,
  name: 'audit_event',
  description: 'Who did what.',
  fields: {
    id: text('Identity.'),
    type: one('AuditEventType', 'Kind.'),
    timestamp: time('When.'),
    username: text('Who.'),
    is_successful: flag('It was done.'),
    client_address: text('From where.'),
    server_address: text('To where.'),
    appliance_id: text('Appliance.'),
    job_id: text('Its job.'),
    resource_type: phrase('Kind of resource.'),
    resource_action: phrase('What.'),
    message_code: text('Code.'),
    message_arguments: listOf(Texts(), 'Arguments.'),
    message_l10n: text('In words.'),
  },
  noInstance: true,
};

export const platformResources = [
  cluster,
  appliance,
  node,
  softwareInstalled,
  softwarePackage,
  loginSession,
  x509Certificate,
  job,
  event,
  alert,
  auditEvent,
] as const;
