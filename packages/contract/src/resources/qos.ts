import { Type } from 'typebox';
import { Body, Name, Nullable, OneOf, Opt } from '../bodies.ts';
import { hasMany, integer, one, type ResourceSpec, text } from '../resource.ts';

const most = 2_147_483_646;
const Operations = () => Type.Integer({ minimum: 1, maximum: most });
const Bandwidth = () => Type.Integer({ minimum: 2_000, maximum: most });
const Burst = () => Type.Integer({ minimum: 0, maximum: 100 });

export const IoLimitRuleCreate = Body({
  name: Name(),
  type: OneOf('BandwidthLimitType'),
  max_iops: Opt(Operations()),
  max_bw: Opt(Bandwidth()),
  burst_percentage: Opt(Burst()),
});
export const IoLimitRuleModify = Body({
  name: Opt(Name()),
  type: Opt(OneOf('BandwidthLimitType')),
  max_iops: Opt(Nullable(Operations())),
  max_bw: Opt(Nullable(Bandwidth())),
  burst_percentage: Opt(Burst()),
});

export const ioLimitRule: ResourceSpec = {
  name: 'io_limit_rule',
  description: 'How much hosts may do with a volume, or with all volumes of a group together.',
  byName: true,
  fields: {
    id: text('Identity.'),
    name: text('Name, unique among these rules without regard to case.'),
    type: one('BandwidthLimitType', 'Whether the limits are for a volume or for each GiB of its size.'),
    max_iops: integer('Operations a second.'),
    max_bw: integer('KiB a second.'),
    burst_percentage: integer('How far above the limits a host may go for five seconds after it stayed below them.'),
  },
  associations: { policies: hasMany('policy', 'io_limit_rule_id') },
  create: { body: IoLimitRuleCreate },
  modify: { body: IoLimitRuleModify },
  remove: {},
  actions: {},
};

export const qosResources = [ioLimitRule] as const;
