/** One entry of the catalogue: everything about an error that does not depend on the occasion. */
export interface ErrorEntry {
  readonly code: string;
  readonly status: 400 | 401 | 403 | 404 | 405 | 406 | 413 | 415 | 416 | 422 | 500 | 503;
  readonly severity: 'Error' | 'Warning' | 'Info';
  /** `{0}`, `{1}`, … are filled in with the arguments. */
  readonly message: string;
  readonly remedy: string;
}

const error = (code: string, status: ErrorEntry['status'], message: string, remedy: string): ErrorEntry => ({
  code,
  status,
  severity: 'Error',
  message,
  remedy,
});

/**
 * The error catalogue: the only place where codes, statuses and texts stand. Codes that PowerStore's clients know are PowerStore's;
 * those it has not published are ours, inside the ranges that it uses (docs/errors.md).
 */
export const catalogue = {
  invalid_request: error(
    '0xE04040010005',
    400,
    'The request is not valid: {0}',
    'Correct the part that the message names.',
  ),
  schema_violation: error(
    '0xE04040030001',
    400,
    'The request body is not valid at {0}: {1}',
    'Correct the property that the message names.',
  ),
  not_found: error(
    '0xE04040020009',
    404,
    'There is no {0} with the id {1}.',
    'Look the id up; it may have been deleted.',
  ),
  unsupported_path: error(
    '0xE04040020010',
    404,
    '{0} {1} is not supported by this system.',
    'See the table of supported operations.',
  ),
  method_not_allowed: error(
    '0xE04040020011',
    405,
    '{0} is not supported by {1}.',
    'See the table of supported operations.',
  ),
  not_acceptable: error('0xE04040020012', 406, 'Only application/json can be sent.', 'Accept application/json.'),
  body_too_large: error('0xE04040020013', 413, 'The request body is too large.', 'Send less.'),
  unsupported_media_type: error(
    '0xE04040020014',
    415,
    'Only application/json is understood.',
    'Send application/json.',
  ),
  bad_range: error(
    '0xE04040010006',
    416,
    'The range, limit or offset is not valid: {0}',
    'Ask for a range that exists.',
  ),
  internal: error(
    '0xE04040010001',
    500,
    'The system could not do it because of an internal error ({0}).',
    'Try again; look into the log for the request id.',
  ),
  unavailable: error('0xE04040010002', 503, 'The system cannot do it at the moment: {0}', 'Try again in a moment.'),
  unauthenticated: error(
    '0xE09040010001',
    401,
    'User or password is wrong, or the session has ended.',
    'Log in again.',
  ),
  locked_out: error(
    '0xE09040010002',
    401,
    'Too many failed logins: wait {0} seconds.',
    'Wait, then log in with the right password.',
  ),
  csrf: error(
    '0xE09040010003',
    403,
    'The DELL-EMC-TOKEN header is missing or wrong.',
    'Send the token that came with the login.',
  ),
  forbidden: error('0xE09040010004', 403, 'Your role does not allow this.', 'Ask an administrator.'),
  forbidden_again: error('0xE09040010005', 422, '{0} Asking again does not change that.', 'Ask an administrator.'),
  password_change_required: error(
    '0xE09040010006',
    403,
    'The password has to be changed before anything else.',
    'PATCH local_user with password and current_password, then log in again.',
  ),
  user_not_found: error(
    '0xE09040040001',
    404,
    'There is no user with the id {0}.',
    'Look the id up; it may have been deleted.',
  ),
  role_not_found: error('0xE09040050001', 404, 'There is no role with the id {0}.', 'Look at the roles.'),
  user_name_in_use: error('0xE09040040010', 422, 'The user name {0} is in use.', 'Choose another name.'),
  user_fixed: error(
    '0xE09040040011',
    422,
    'User {0}: {1} cannot be changed by this request.',
    'Built-in users stay as they are, and nobody changes the own role or lock.',
  ),
  weak_password: error(
    '0xE09040040012',
    400,
    'The password cannot be taken: {0}.',
    'Use 8 to 40 signs: small and capital letters, digits, and signs that are neither.',
  ),
  wrong_current_password: error(
    '0xE09040040013',
    422,
    'The current password is missing or wrong.',
    'Give the present password as current_password.',
  ),
  too_many_users: error('0xE09040040014', 422, 'There are {0} users already.', 'Delete one first.'),
  endpoint_hidden: error(
    '0xE04040020002',
    404,
    'The REST endpoint [{0} {1}] cannot be found.',
    'It is outside the published interface: ask with the header DELL-VISIBILITY: internal.',
  ),
  file_absent: error(
    '0xE08010010001',
    422,
    'There are no file services on this system: {0} cannot be created.',
    'Use volumes.',
  ),
  metrics_absent: error(
    '0xE04040010007',
    422,
    'There are no figures of {0} on this system.',
    'See the table of metrics.',
  ),
  name_in_use: error('0xE0A080010014', 422, 'The name {0} is in use.', 'Choose another name.'),
  snapshot_name_in_use: error('0xE0A060010012', 400, 'The snapshot name {0} is in use.', 'Choose another name.'),
  volume_not_found: error(
    '0xE0A08001000E',
    404,
    'There is no volume with the id {0}.',
    'Look the id up; it may have been deleted.',
  ),
  policy_not_found: error(
    '0xE0A090010001',
    404,
    'There is no policy with the id {0}.',
    'Look the id up; it may have been deleted.',
  ),
  snapshot_rule_not_found: error(
    '0xE0203001000B',
    404,
    'There is no snapshot rule with the id {0}.',
    'Look the id up; it may have been deleted.',
  ),
  rule_not_in_policy: error(
    '0xE02020010007',
    404,
    'Rule {0} is not in the policy.',
    'Look at the rules of the policy.',
  ),
  size_not_larger: error(
    '0xE0A05001001A',
    400,
    'Volume {0} ({1}): the new size {2} is not larger than the present one, {3}.',
    'Give a larger size, a multiple of 8192.',
  ),
  size_not_aligned: error(
    '0xE0A080010005',
    400,
    'The size {0} is not a multiple of 8192.',
    'Give a multiple of 8192 from 1048576 to 281474976710656.',
  ),
  not_for_this_type: error('0xE0A080010020', 422, 'This cannot be done to a {0}: {1}', 'Use a volume of another type.'),
  is_destination: error(
    '0xE0A080010021',
    422,
    'Volume {0} is a replication destination: {1} is not possible.',
    'Do it at the source, or remove the policy there first.',
  ),
  volume_protected: error(
    '0xE0A080010022',
    422,
    'Volume {0} has a protection policy.',
    'Remove the policy from the volume first.',
  ),
  volume_in_session: error(
    '0xE0A080010023',
    422,
    'Volume {0} takes part in a replication session.',
    'Remove the policy at the source first.',
  ),
  not_in_family: error('0xE0A080010024', 422, '{0} is not {1}.', 'Choose a member of the same family.'),
  secure_snapshot: error('0xE0A060010015', 422, 'Snapshot {0} is secure until it expires.', 'Wait until it expires.'),
  bad_expiry: error('0xE0A060010016', 400, 'The expiry {0} is not possible: {1}', 'Give a time in the future.'),
  group_not_found: error(
    '0xE0A04001000E',
    404,
    'There is no volume group with the id {0}.',
    'Look the id up; it may have been deleted.',
  ),
  group_name_in_use: error(
    '0xE0A040010014',
    422,
    'The volume group name {0} is in use.',
    'Choose another name; upper and lower case are not told apart.',
  ),
  other_appliance: error(
    '0xE0A080010047',
    422,
    'Volume {0} is on appliance {1}, and its group is on appliance {2}: volumes that change at one instant are on one appliance.',
    'Migrate the volume to that appliance first, or create it there.',
  ),
  in_group: error('0xE0A040010020', 422, 'Volume {0} is in volume group {1}.', 'Take it out of that group first.'),
  not_a_member: error('0xE0A040010021', 422, 'Volume {0} is not in volume group {1}.', 'Look at the group’s volumes.'),
  in_snapshot_set: error(
    '0xE0A040010022',
    422,
    'Volume {0} has a snapshot in the set {1}.',
    'Delete the snapshot set first.',
  ),
  group_empty: error('0xE0A040010023', 422, 'Volume group {0} has no members.', 'Add volumes to it first.'),
  members_differ: error(
    '0xE0A040010024',
    422,
    'The members of {0} are not those of {1}.',
    'Choose a snapshot or group with the same members, or change the membership.',
  ),
  group_protected: error(
    '0xE0A040010025',
    422,
    'Volume group {0} has a protection policy.',
    'Remove the policy from the group first.',
  ),
  policy_on_both: error(
    '0xE0A040010026',
    422,
    'A policy is on the group or on its members, not on both: {0} and {1}.',
    'Remove the policy from one of them first.',
  ),
  group_destination: error(
    '0xE0A040010027',
    422,
    'Volume group {0} is a replication destination: {1} is not possible.',
    'Do it at the source, or remove the policy there first.',
  ),
  group_in_session: error(
    '0xE0A040010028',
    422,
    'Volume group {0} takes part in a replication session.',
    'Remove the policy at the source first.',
  ),
  too_many_members: error(
    '0xE0A040010029',
    422,
    'Volume group {0} would have more than {1} members.',
    'Use another group.',
  ),
  members_locked: error(
    '0xE0A04001002A',
    422,
    'The members of volume group {0} cannot be changed while its session is {1}.',
    'Wait until it has ended.',
  ),
  no_space: error(
    '0xE0A080010030',
    422,
    'There is no space left on appliance {0}.',
    'Delete what is not needed, or add space.',
  ),
  volume_attached: error('0xE0A080020001', 422, 'Volume {0} is attached to {1}.', 'Detach it there first.'),
  volume_not_attached: error(
    '0xE0A08001000F',
    422,
    'Volume {0} is not attached to {1}.',
    'Look at the mappings of the volume.',
  ),
  host_not_attached: error(
    '0xE0A01001001E',
    400,
    '{0} is not attached to volume {1}.',
    'Look at the mappings of the host.',
  ),
  attach_target: error(
    '0xE0A080010052',
    400,
    'Give either host_id or host_group_id, {0}.',
    'Give exactly one of the two.',
  ),
  attached_already: error(
    '0xE0A080010050',
    422,
    'Volume {0} is attached to {1} already.',
    'Use the mapping that there is.',
  ),
  lun_in_use: error(
    '0xE0A080010051',
    422,
    'The logical unit number {0} is in use at {1}.',
    'Choose another, or none: one is chosen then.',
  ),
  lun_exhausted: error('0xE0A080010053', 422, '{0} has no logical unit number left.', 'Detach a volume first.'),
  host_not_found: error(
    '0xE0A010010003',
    404,
    'There is no host with the id {0}.',
    'Look the id up; it may have been deleted.',
  ),
  host_name_in_use: error('0xE0A010010040', 422, 'The host name {0} is in use.', 'Choose another name.'),
  host_in_group: error(
    '0xE0A010010041',
    422,
    'Host {0} is in host group {1}: {2} is done to the group.',
    'Use the group, or take the host out of it first.',
  ),
  host_attached: error(
    '0xE0A010010042',
    422,
    '{0} is attached to {1} volume(s): {2} is not possible.',
    'Detach the volumes first.',
  ),
  initiator_in_use: error(
    '0xE0A01001000C',
    400,
    'The initiator {0} belongs to host {1} already.',
    'Remove it there first.',
  ),
  initiator_not_of_host: error(
    '0xE0A010010014',
    400,
    'The initiator {0} does not belong to host {1}.',
    'Look at the initiators of the host.',
  ),
  bad_port_name: error(
    '0xE0A01001002F',
    400,
    'Host {0}: {1} is no name of an initiator of type {2}.',
    'iSCSI: iqn.YYYY-MM.NAME, eui. or naa.; FC: eight bytes with colons between them; NVMe: nqn.NAME.',
  ),
  last_initiator: error(
    '0xE0A010010043',
    422,
    'Host {0} is attached to volumes and would have no initiator left.',
    'Detach the volumes, or add another initiator first.',
  ),
  mixed_initiators: error(
    '0xE0A010010044',
    422,
    'Host {0} would have initiators of types {1}: a host has one type.',
    'Make a host of its own for the other type.',
  ),
  one_change: error('0xE0A010010045', 400, '{0} are not changed together.', 'Send them one after the other.'),
  host_group_hosts: error('0xE0A030010001', 400, 'Host group {0}: {1}', 'Name hosts that exist and are in no group.'),
  host_group_name_in_use: error('0xE0A030010010', 400, 'The host group name {0} is in use.', 'Choose another name.'),
  host_group_connectivity: error(
    '0xE0A030010011',
    422,
    'Host {0} has the connectivity {1}, not {2} as the group has.',
    'Bring them into line first.',
  ),
  host_group_last_host: error(
    '0xE0A030010012',
    422,
    'Host group {0} is attached to volumes and would have no host left.',
    'Detach the volumes first.',
  ),
  policy_name_in_use: error('0xE02020010004', 422, 'The policy name {0} is in use.', 'Choose another name.'),
  policy_in_use: error('0xE02020010011', 422, 'Policy {0} is assigned to {1}.', 'Remove it there first.'),
  policy_without_rules: error(
    '0xE02020010012',
    422,
    'A protection policy has at least one rule.',
    'Name a snapshot rule or a replication rule.',
  ),
  too_many_rules: error('0xE02020010013', 422, 'A policy has at most {0} {1}.', 'Leave some out.'),
  read_only_object: error(
    '0xE02020010014',
    422,
    '{0} {1} cannot be changed here: it is managed by {2}.',
    'Change it where it comes from.',
  ),
  policy_mixes_kinds: error(
    '0xE02020010015',
    422,
    'A policy has rules of one kind: protection, or an I/O limit.',
    'Make a policy for each.',
  ),
  policy_of_other_kind: error('0xE02020010016', 422, 'Policy {0} is of type {1}: {2}', 'Choose another policy.'),
  io_rule_name_in_use: error('0xE0A0E0010009', 422, 'The rule name {0} is in use.', 'Choose another name.'),
  io_rule_without_limit: error(
    '0xE0A0E0010010',
    422,
    'An I/O limit rule has a limit.',
    'Give max_iops, max_bw, or both.',
  ),
  io_rule_in_use: error('0xE0A0E0010011', 422, 'Rule {0} is in policy {1}.', 'Take it out of the policy first.'),
  rule_name_in_use: error('0xE02020010020', 422, 'The rule name {0} is in use.', 'Choose another name.'),
  rule_in_use: error(
    '0xE02020010021',
    422,
    'Rule {0} is in a policy that is assigned.',
    'Remove the policy from its volumes first.',
  ),
  rule_remote_frozen: error(
    '0xE02020010022',
    422,
    'The remote system of rule {0} cannot be changed while the rule is in use.',
    'Remove the policy from its volumes first.',
  ),
  bad_snapshot_schedule: error(
    '0xE02030010010',
    400,
    'A snapshot rule has either an interval or a time of day.',
    'Give exactly one of the two.',
  ),
  rpo_not_supported: error(
    '0xE02020010023',
    422,
    'The objective {0} needs synchronous replication, which the remote system does not offer.',
    'Choose a longer objective.',
  ),
  remote_not_trusted: error(
    '0xE02010020010',
    422,
    'There is no certificate of a cluster at {0}.',
    'Exchange certificates with it first (x509_certificate/exchange).',
  ),
  remote_exists: error('0xE02010020011', 422, 'The cluster {0} is paired already.', 'Use the entry that there is.'),
  remote_in_use: error('0xE02010020012', 422, 'Remote system {0} is used by {1}.', 'Remove the rule or policy first.'),
  remote_unreachable: error(
    '0xE02010020013',
    422,
    'The remote system {0} cannot be reached: {1}',
    'Check the link and the peer.',
  ),
  remote_kind: error('0xE02010020014', 400, 'Remote systems of type {0} are not supported.', 'Use PowerStore.'),
  exchange_failed: error(
    '0xE09010010020',
    422,
    'Certificates could not be exchanged with {0}: {1}',
    'Check address, port, user and password.',
  ),
  exchange_service: error(
    '0xE09010010021',
    400,
    'Certificates are exchanged for Replication_HTTP only, not for {0}.',
    'Use Replication_HTTP.',
  ),
  failed_over_already: error(
    '0xE0201005000C',
    422,
    'The session has failed over already.',
    'Reprotect it at the new source, or fail over with force at the destination.',
  ),
  session_wrong_side: error(
    '0xE02010050010',
    400,
    '{0} is given at the {1}; this side is the {2}.',
    'Give the command to the other cluster.',
  ),
  session_wrong_state: error(
    '0xE02010050011',
    422,
    '{0} is not possible while the session is {1}; it is possible in: {2}.',
    'Bring the session into one of these states first.',
  ),
  session_system_paused: error(
    '0xE02010050012',
    422,
    'A session that the system paused ({0}) cannot be resumed by a user; it goes on by itself.',
    'Remove the cause that error_code names, or use sync at the source.',
  ),
  session_running: error('0xE02010050013', 422, '{0} is running already.', 'Wait until it has ended.'),
  session_peer_unreachable: error(
    '0xE02010050014',
    422,
    '{0} needs the peer, and it cannot be reached.',
    'Restore the link first.',
  ),
  session_peer_busy: error(
    '0xE02010050015',
    422,
    '{0} was refused by the peer: {1}',
    'Try again when the peer has finished.',
  ),
  session_failed: error('0xE02010050016', 422, '{0} did not succeed ({1}): {2}', 'Remove the cause and try again.'),
  upload_expected: error(
    '0xE04040020015',
    400,
    'A file is expected: multipart/form-data with the field {0}.',
    'Send it as a form with a file.',
  ),
  upload_incomplete: error('0xE04040020016', 400, 'The file did not arrive as a whole.', 'Send it again.'),
  package_refused: error(
    '0xE0E010010001',
    422,
    'The software package was not taken: {0}',
    'Take it as it was published, for this platform and a newer version than the one that runs.',
  ),
  package_key_missing: error(
    '0xE0E010010002',
    422,
    'This cluster trusts no key for software packages.',
    'Give it the public key of whoever makes them: antipode package trust.',
  ),
  package_in_use: error(
    '0xE0E010010003',
    422,
    'Software package {0} {1}.',
    'Install another one first, or wait until the upgrade has ended.',
  ),
  upgrade_running: error(
    '0xE0E010010004',
    422,
    'Software is being uploaded or installed already.',
    'Wait until that has ended.',
  ),
  upgrade_check: error('0xE0E010010005', 422, 'Not ready for an upgrade: {0}', 'Remove the cause and look again.'),
  upgrade_failed: error(
    '0xE0E010010006',
    422,
    'The upgrade did not succeed, and the release of before runs: {0}',
    'Look at the log of the cluster; try again when the cause is gone.',
  ),
  sessions_busy: error(
    '0xE0201005001B',
    422,
    'Sessions could not be paused in time: {0}',
    'Wait until what is under way has ended, and try again.',
  ),
  session_option: error('0xE02010050017', 400, 'The options contradict each other: {0}', 'Leave one of them out.'),
  session_tested: error(
    '0xE02010050019',
    422,
    '{0} is not possible while a failover test is running.',
    'Stop the test first, or fail over with use_test_copy.',
  ),
  session_not_tested: error(
    '0xE0201005001A',
    422,
    '{0} needs a failover test that is running.',
    'Start a failover test first.',
  ),
  session_fault: error('0xE02010050020', 422, 'The copy stopped: {0}', 'Remove the cause; it goes on by itself.'),
  peer_refused: error('0xE02010050018', 422, 'The peer refused: {0}', 'Correct it at the peer.'),
} as const satisfies Readonly<Record<string, ErrorEntry>>;

export type ErrorName = keyof typeof catalogue;

export interface ErrorMessage {
  readonly code: string;
  readonly severity: 'Error' | 'Warning' | 'Info';
  readonly message_l10n: string;
  readonly severity_l10n: string;
  readonly arguments: readonly string[];
}

/** The body of every answer that is no success. */
export interface ErrorResponse {
  readonly messages: readonly ErrorMessage[];
}

/** An error on its way to a caller: an entry of the catalogue and what it is about this time. */
export class RestError extends Error {
  override name = 'RestError';
  readonly entry: ErrorEntry;
  readonly args: readonly string[];
  /** What else stands in the way. */
  readonly others: readonly RestError[];

  constructor(name: ErrorName, ...args: readonly string[]) {
    const entry: ErrorEntry = catalogue[name];
    super(fill(entry.message, args));
    this.entry = entry;
    this.args = args;
    this.others = [];
  }

  get status(): number {
    return this.entry.status;
  }

  body(): ErrorResponse {
    const { code, severity } = this.entry;
    const own = { code, severity, severity_l10n: severity, message_l10n: this.message, arguments: this.args };
    return { messages: [own, ...this.others.flatMap((other) => other.body().messages)] };
  }

  /** One refusal for several reasons; the first decides its status. */
  static of(first: RestError, ...others: readonly RestError[]): RestError {
    return Object.assign(first, { others });
  }
}

const fill = (message: string, args: readonly string[]): string =>
  message.replace(/\{(\d)\}/g, (_, index: string) => args[Number(index)] ?? '');
