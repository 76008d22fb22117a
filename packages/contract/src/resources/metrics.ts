import { type TSchema, Type } from 'typebox';
import { Body, Nullable, OneOf, Opt, Ref } from '../bodies.ts';
import { integer, type ResourceSpec, text, time } from '../resource.ts';

export const MetricsGenerate = Body({
  entity: OneOf('MetricsEntity'),
  entity_id: Ref(),
  interval: Opt(OneOf('MetricsInterval')),
});

/** What figures there may be, by family: of a shortest period under these names. */
export const figureNames = {
  performance: [
    ...['read', 'write', 'unmap', 'zero'].flatMap((operation) => [
      `${operation}_iops`,
      `${operation}_bandwidth`,
      `avg_${operation}_latency`,
      ['read', 'write'].includes(operation) ? `avg_${operation}_size` : `avg_${operation}_io_size`,
    ]),
    'total_iops',
    'total_bandwidth',
    'avg_latency',
    'avg_io_size',
  ],
  space: [
    'logical_provisioned',
    'logical_used',
    'thin_savings',
    'unique_physical_used',
    'data_reduction',
    'logical_used_volume',
    'logical_used_file_system',
    'logical_used_vvol',
    'physical_total',
    'physical_used',
    'data_physical_used',
    'system_free_space',
    'efficiency_ratio',
  ],
  copy: ['data_transferred', 'data_remaining', 'transfer_rate', 'transfer_time'],
} as const;
/** Longer periods show what was the rule, or true at the end, and the most. */
const rolledUpNames = (family: keyof typeof figureNames): readonly string[] =>
  family === 'copy'
    ? figureNames.copy
    : figureNames[family].flatMap((name) => [
        name.startsWith('avg_') ? name : `${family === 'space' ? 'last' : 'avg'}_${name}`,
        `max_${name}`,
      ]);
const owners = ['volume_id', 'family_id', 'vg_id', 'appliance_id', 'node_id', 'cluster_id', 'initiator_id'];
const furtherOwners = ['host_id', 'hg_id', 'remote_system_id'];
const optional = <T extends TSchema>(names: readonly string[], schema: () => T) =>
  Object.fromEntries(names.map((name) => [name, Opt(schema())]));

/** One period of one thing; which figures there are follows from the entity. */
export const MetricsRow = Type.Object({
  entity: OneOf('MetricsEntity'),
  entity_l10n: Type.String(),
  timestamp: Type.String(),
  repeat_count: Opt(Type.Integer({ minimum: 1 })),
  session_type: Opt(OneOf('CopySessionType')),
  ...optional([...owners, ...furtherOwners], () => Nullable(Type.String())),
  ...optional(
    [
      ...new Set(
        (['performance', 'space', 'copy'] as const).flatMap((family) => [
          ...figureNames[family],
          ...rolledUpNames(family),
        ]),
      ),
    ],
    () => Type.Number(),
  ),
});

export const metrics: ResourceSpec = {
  name: 'metrics',
  description: 'History of load, space and replication. There is nothing to list: figures are asked for.',
  byName: false,
  noInstance: true,
  noList: true,
  fields: { id: text('Not used.') },
  associations: {},
  actions: {},
  collectionActions: {
    generate: {
      summary: 'Figures of one thing, oldest first.',
      body: MetricsGenerate,
      required: true,
      reads: true,
      answer: Type.Array(MetricsRow),
    },
  },
};

/** Read by the CSI driver’s replication sidecar. */
export const mirrorRates: ResourceSpec = {
  name: 'volume_mirror_transfer_rate_cma_view',
  description: 'How fast a volume is copied at the moment.',
  byName: false,
  noInstance: true,
  hidden: 'always',
  fields: {
    id: text('Volume.'),
    timestamp: time('When it was measured.'),
    synchronization_bandwidth: integer('Bytes a second that cycles ship.'),
    mirror_bandwidth: integer('Bytes a second that are mirrored at once; none are.'),
    data_remaining: integer('Bytes of the cycle under way that are still to be copied.'),
  },
  associations: {},
  actions: {},
};

export const metricsResources = [metrics, mirrorRates] as const;
