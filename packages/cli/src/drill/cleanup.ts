import { siteNames } from '../lab/layout.ts';
import type { Drill } from './drill.ts';

/** Removes what the drill made, as far as it goes; answers what it had to leave. */
export async function cleanUp(drill: Drill): Promise<string[]> {
  const { sites, clock } = drill.deps;
  const left: string[] = [];
  const attempt = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      left.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  await drill.oldConnection?.close().catch(() => undefined);
  await drill.deps.control({ ask: 'link', cut: false, rate_bps: null }).catch(() => undefined);
  for (const name of siteNames) {
    const { client } = sites[name];
    const id = drill.volumeIds[name];
    if (id === undefined) continue;
    const session = await client
      .first('replication_session', { select: '*', filter: { local_resource_id: `eq.${id}` } })
      .catch(() => undefined);
    if (session?.role === 'Source')
      await attempt(`the policy of the volume at ${name}`, () =>
        client.modify('volume', id, { protection_policy_id: '' }),
      );
  }
  for (const name of siteNames) {
    const { client } = sites[name];
    const id = drill.volumeIds[name];
    if (id === undefined) continue;
    // The other half goes a moment after the first.
    for (let tries = 0; tries < 50; tries += 1) {
      const session = await client
        .first('replication_session', { select: ['id'], filter: { local_resource_id: `eq.${id}` } })
        .catch(() => undefined);
      if (session === undefined) break;
      await clock.sleep(100);
    }
    const volume = await client.get('volume', id).catch(() => undefined);
    if (volume?.is_replication_destination)
      await attempt(`the flag of the volume at ${name}`, () =>
        client.modify('volume', id, { is_replication_destination: false }),
      );
    if (volume?.protection_policy_id)
      await attempt(`the policy of the volume at ${name}`, () =>
        client.modify('volume', id, { protection_policy_id: '' }),
      );
    await attempt(`the volume at ${name}`, () => client.remove('volume', id));
  }
  await removeRules(drill, attempt);
  return left;
}

/** The policy and its rule, where they are managed; the other site's copies of them go with them. */
async function removeRules(
  drill: Drill,
  attempt: (what: string, work: () => Promise<unknown>) => Promise<void>,
): Promise<void> {
  const query = { select: ['id', 'name', 'is_replica'], filter: { name: `like.drill-*-${drill.deps.runName}` } };
  for (const resource of ['policy', 'replication_rule'] as const)
    for (const name of siteNames) {
      const { client } = drill.deps.sites[name];
      for (const found of await client.all(resource, query).catch(() => []))
        if (found.is_replica !== true)
          await attempt(`${resource} ${found.name} at ${name}`, () => client.remove(resource, found.id));
    }
}
