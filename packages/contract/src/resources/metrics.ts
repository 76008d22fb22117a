import { Type } from 'typebox';
import { Body, OneOf, Opt, Ref } from '../bodies.ts';
import { integer, type ResourceSpec, text, time } from '../resource.ts';

export const MetricsGenerate = Body({
  entity: OneOf('MetricsEntity'),
  entity_id: Ref(),
  interval: Opt(OneOf('MetricsInterval')),
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
      // Which figures there are follows from the entity.
      answer: Type.Array(
        Type.Object(
          { entity: Type.String(), timestamp: Type.String() },
          { additionalProperties: Type.Union([Type.Number(), Type.String(), Type.Null()]) },
        ),
      ),
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
