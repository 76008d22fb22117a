import { RestError } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import type { IoLimitRuleDocument } from '../catalog/documents.ts';
import type { DataPlane, IoLimit } from '../local/api.ts';
import type { Handlers } from '../rest/handlers.ts';
import { membersOf } from './group-document.ts';
import { Publisher } from './publisher.ts';

const KiB = 1024;
const GiB = 1024 ** 3;
/** Name of the only priority that there is: all volumes are served alike. */
export const onlyPriority = 'default_medium';

/**
 * What a body asks for of the policy that limits I/O: undefined nothing, null that it goes. Refuses what cannot be before anything changes.
 */
export function wantedQosPolicy(
  catalog: Catalog,
  target: { readonly type: string },
  given: string | null | undefined,
): string | null | undefined {
  if (given === undefined) return undefined;
  if (target.type === 'Snapshot') throw new RestError('not_for_this_type', 'Snapshot', 'a snapshot takes no policy');
  if (given === null || given === '') return null;
  const policy = catalog.get('policy', given);
  if (policy === undefined) throw new RestError('policy_not_found', given);
  if (policy.type !== 'QoS')
    throw new RestError('policy_of_other_kind', policy.name, policy.type, 'it does not limit I/O.');
  return policy.id;
}

/** Refuses priorities that there are not. */
export function checkPriority(given: string | null | undefined): void {
  if (given != null && given !== '' && given !== onlyPriority) throw new RestError('policy_not_found', given);
}

/** What a policy that limits I/O is assigned to, by name. */
export const limitedBy = (catalog: Catalog, policy: string): readonly string[] => [
  ...catalog.list('volume', 'qos_performance_policy_id', policy).map(({ name }) => `volume ${name}`),
  ...catalog.list('volume_group', 'qos_performance_policy_id', policy).map(({ name }) => `volume group ${name}`),
];

/** The rates that hosts are held to: one for each volume with a policy, one for all members of a group with one. Pure but for reading the catalog. */
export function ioLimits(catalog: Catalog): readonly IoLimit[] {
  return catalog.list('policy', 'type', 'QoS').flatMap((policy) => {
    const rule = catalog.get('io_limit_rule', policy.io_limit_rule_id ?? '');
    if (rule === undefined) return [];
    const volumes = catalog.list('volume', 'qos_performance_policy_id', policy.id).map(({ id, size }) => ({
      id: `volume ${id}`,
      volumes: [id],
      rate: rateOf(rule, size),
    }));
    const groups = catalog.list('volume_group', 'qos_performance_policy_id', policy.id).flatMap(({ id }) => {
      const members = membersOf(catalog, id);
      const size = members.reduce((sum, member) => sum + member.size, 0);
      if (members.length === 0) return [];
      return [{ id: `group ${id}`, volumes: members.map((member) => member.id), rate: rateOf(rule, size) }];
    });
    return [...volumes, ...groups];
  });
}

function rateOf(
  { type, max_iops, max_bw, burst_percentage }: IoLimitRuleDocument,
  size_bytes: number,
): IoLimit['rate'] {
  const times = type === 'Density' ? size_bytes / GiB : 1;
  return {
    ...(max_iops !== null && { operations_per_s: max_iops * times }),
    ...(max_bw !== null && { bytes_per_s: max_bw * KiB * times }),
    burst_percentage,
  };
}

/** Keeps the rates of the data plane equal to what the catalog says. */
export class LimitPublisher extends Publisher {
  #told = '';

  constructor(catalog: Catalog, dataPlane: Pick<DataPlane, 'setLimits'>) {
    super(async () => {
      const limits = ioLimits(catalog);
      const text = JSON.stringify(limits);
      if (text === this.#told) return;
      // Until it has been taken, nothing is known of what holds.
      this.#told = '?';
      await dataPlane.setLimits(limits);
      this.#told = text;
    });
    this.#told = JSON.stringify([]);
    catalog.watch(['volume', 'volume_group', 'policy', 'io_limit_rule'], () => {
      // What follows a peer, such as sizes and members of copies; a request waits for its own change in {@link holding}.
      this.publish().catch(() => undefined);
    });
  }

  /** The data plane has started anew: it knows nothing. */
  again(): Promise<void> {
    this.#told = '?';
    return this.publish();
  }

  /** Handlers whose answer comes when hosts are held to what they changed. */
  holding(handlers: Handlers): Handlers {
    return Object.fromEntries(
      Object.entries(handlers).map(([operation, work]) => [
        operation,
        async (context, id, body) => {
          const answer = await work(context, id, body);
          await this.publish();
          return answer;
        },
      ]),
    );
  }
}
