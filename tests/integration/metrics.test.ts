import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, MiB, noise, Pair } from './pair.ts';

const pair = new Pair();
/** Figures are of twenty seconds: two of the machine's, for its clock runs faster. */
beforeAll(() => pair.start('--clock-rate', '10'));
afterAll(() => pair.stop());

type Row = Readonly<Record<string, number | string>>;
const generate = async (entity: string, entity_id: string, interval: string): Promise<readonly Row[]> =>
  (await pair.a.client.collectionAction('metrics', 'generate', { entity, entity_id, interval })) as Row[];

describe('metrics of a pair', () => {
  it('are there from the start, and show what hosts and cycles did', async () => {
    const [capacity] = (await generate('space_metrics_by_cluster', '0', 'Five_Mins')).slice(-1);
    expect(Number(capacity?.physical_total)).toBeGreaterThan(Number(capacity?.physical_used));
    const { volume, session } = await pair.protect('busy', 16 * MiB);
    // What is newer than any mark has figures at once, by itself and with its family.
    const family = 'space_metrics_by_volume_family';
    for (const [entity, interval, provisioned] of [
      ['space_metrics_by_volume', 'Five_Mins', 'logical_provisioned'],
      ['space_metrics_by_volume', 'One_Day', 'last_logical_provisioned'],
      [family, 'Five_Mins', 'logical_provisioned'],
    ] as const)
      expect((await generate(entity, volume, interval)).at(-1)).toMatchObject({ entity, [provisioned]: 16 * MiB });
    const clone = await pair.a.client.action('volume', volume, 'clone', { name: 'copy of busy' });
    expect((await generate(family, volume, 'Five_Mins')).at(-1)).toHaveProperty('family_id', volume);
    await pair.a.client.remove('volume', String((clone as { id: string }).id));
    const disk = await pair.a.open('busy');
    await disk.write(0, noise(MiB, 1), { fua: true });
    await disk.read(0, new Uint8Array(MiB));
    await disk.close();
    await pair.act(pair.a, session, 'sync', {});
    /** One mark or another of twenty seconds may fall between what was done together. */
    const seen = (entity: string, id: string, figure: string, least = 1e-9) =>
      eventually(`${figure} of ${entity}`, async () => {
        const rows = await generate(entity, id, 'Twenty_Sec');
        return rows.reduce((sum, row) => sum + Number(row[figure] ?? 0), 0) >= least;
      });
    await seen('performance_metrics_by_volume', volume, 'write_bandwidth');
    await seen('performance_metrics_by_volume', volume, 'read_iops');
    await seen('performance_metrics_by_cluster', '0', 'total_iops');
    await seen('copy_metrics_by_replication_session', session, 'data_transferred', MiB);
    const day = await generate('performance_metrics_by_volume', volume, 'One_Day');
    expect(Number(day.at(-1)?.max_write_iops)).toBeGreaterThan(0);
    const rate = await pair.a.client.first('volume_mirror_transfer_rate_cma_view', {
      select: 'id,timestamp,synchronization_bandwidth,mirror_bandwidth,data_remaining',
      filter: { id: `eq.${volume}` },
    });
    expect(rate).toMatchObject({ id: volume, mirror_bandwidth: 0 });
    await expect(generate('wear_metrics_by_drive', 'x', 'One_Day')).rejects.toMatchObject({ status: 422 });
    await expect(generate('performance_metrics_by_volume', 'x', 'One_Day')).rejects.toMatchObject({ status: 404 });
  });
});
