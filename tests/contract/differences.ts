const openSet = 'What may stand there grows with what a system does; any word may be asked for.';
const otherKinds = 'It concerns kinds of remote systems that cannot be paired with here.';
const fixed = 'It is as it is here and cannot be changed.';
const sent = 'A client sends it; it is accepted and changes nothing.';

/**
 * Every way in which this interface differs from the published one, with the reason. A difference that is not here is a mistake, and so
 * is an entry that is no difference any more. An asterisk stands for anything.
 */
export const differences: Readonly<Record<string, string>> = {
  'GET * may answer 400':
    'A selection or a filter that cannot be understood is refused; whoever sends none never meets it.',
  'GET * may answer 416': 'A page that there is not is refused, as clients expect.',
  '* may answer 202': 'With is_async=true, which the published interface describes apart from its operations.',
  'POST * may answer 404': 'The body names something by an id that nothing has.',
  'POST /logout never answers 201': 'Nothing is made by it: it is 204 always.',
  'PATCH /network/{id} does not take *': 'There is no VMware and no discovery of NVMe hosts here.',
  'volume_group.volume is not published': 'gopowerstore selects the members under this name beside the published one.',
  'node.name is not published': 'The Ansible collection selects it.',
  'job.resource_action is string, published as enum': openSet,
  'job.resource_type is string, published as enum': openSet,
  'event.resource_type is string, published as enum': openSet,
  'alert.resource_type is string, published as enum': openSet,
  'audit_event.resource_action is string, published as enum': openSet,
  'audit_event.resource_type is string, published as enum': openSet,
  'alert.system_impact_l10n is not published': 'An alert says what its event says.',
  'alert.repair_flow_l10n is not published': 'An alert says what its event says.',
  'POST /host takes metadata besides': sent,
  'POST /volume takes metadata besides': sent,
  'POST /volume_group/{id}/add_members takes force_internal besides': sent,
  'POST /volume_group/{id}/remove_members takes force_internal besides': sent,
  'POST /remote_system requires management_address': 'Only clusters that are managed at an address can be paired with.',
  'POST /remote_system does not take *': otherKinds,
  'PATCH /remote_system/{id} does not take name': 'The name of a peer is the one that it gives itself.',
  'PATCH /remote_system/{id} does not take remote_*': 'Peers know each other by certificates, not by passwords.',
  'PATCH /remote_system/{id} does not take *': otherKinds,
  'PATCH /security_config/{id} does not take *': fixed,
};
