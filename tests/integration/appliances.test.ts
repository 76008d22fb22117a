import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, MiB, noise, Pair, readVolume, refusal } from './pair.ts';

/** Two real clusters of two appliances each. */
const pair = new Pair();
beforeAll(() => pair.start('--appliances', '2'));
afterAll(() => pair.stop());

const applianceOf = async (site: 'a' | 'b', name: string): Promise<string> => {
  const row = await pair[site].client.first('volume', { select: 'appliance_id', filter: { name: `eq.${name}` } });
  return String(row?.appliance_id);
};

describe('a cluster of two appliances', () => {
  it('shows them, their nodes and their volumes', async () => {
    const { client } = pair.a;
    const appliances = await client.all('appliance', { select: 'id,name,nodes(id)' });
    expect(appliances).toMatchObject([
      { id: 'A1', name: 'London-appliance-1', nodes: [{ id: 'N1' }] },
      { id: 'A2', name: 'London-appliance-2', nodes: [{ id: 'N2' }] },
    ]);
    expect(await client.get('cluster', '0')).toMatchObject({ appliance_count: 2 });
    const remote = await client.first('remote_system', { select: 'id' });
    expect(await client.action('remote_system', String(remote?.id), 'query_appliances', {})).toEqual([
      { id: 'A1', name: 'Osaka-appliance-1', model: 'Antipode' },
      { id: 'A2', name: 'Osaka-appliance-2', model: 'Antipode' },
    ]);
  });

  it('makes a volume where it is wanted, and serves it at the address that hosts know', async () => {
    for (const appliance of ['A1', 'A2'])
      await pair.a.client.create('volume', { name: `on-${appliance}`, size: 16 * MiB, appliance_id: appliance });
    for (const appliance of ['A1', 'A2']) {
      expect(await applianceOf('a', `on-${appliance}`)).toBe(appliance);
      const host = await pair.a.open(`on-${appliance}`);
      await host.write(MiB + 512, noise(MiB, 3));
      await host.trim(MiB, 4096);
      await host.flush();
      expect((await host.blockStatus(0, 4 * MiB)).map(({ kind }) => kind)).toEqual(['hole', 'data', 'hole']);
      await host.close();
      const bytes = await readVolume(pair.a, `on-${appliance}`);
      expect(Buffer.compare(bytes.subarray(MiB + 4096, 2 * MiB + 512), noise(MiB, 3).subarray(4096 - 512))).toBe(0);
      expect(bytes.subarray(0, MiB + 4096).every((byte) => byte === 0)).toBe(true);
    }
    const found = await refusal(pair.a.client.create('volume', { name: 'x', size: 16 * MiB, appliance_id: 'A9' }));
    expect(found).toMatchObject({ status: 404 });
  });

  it('keeps snapshots and clones with their volume, and the members of a group together', async () => {
    const { client } = pair.a;
    const volume = await client.create('volume', { name: 'family', size: 16 * MiB, appliance_id: 'A2' });
    const { id: snapshot } = (await client.action('volume', volume, 'snapshot', { name: 'family-s' })) as {
      id: string;
    };
    const { id: clone } = (await client.action('volume', snapshot, 'clone', { name: 'family-c' })) as { id: string };
    for (const id of [volume, snapshot, clone])
      expect(await client.get('volume', id)).toMatchObject({ appliance_id: 'A2' });
    const group = await client.create('volume_group', { name: 'together', volume_ids: [volume, clone] });
    const far = await client.create('volume', { name: 'far', size: 16 * MiB, appliance_id: 'A1' });
    const refused = await refusal(client.action('volume_group', group, 'add_members', { volume_ids: [far] }));
    expect(refused).toMatchObject({ status: 422, message: expect.stringContaining('A1') });
    const near = await client.create('volume', { name: 'near', size: 16 * MiB, volume_group_id: group });
    expect(await client.get('volume', near)).toMatchObject({ appliance_id: 'A2' });
  });

  it('replicates a volume of the second appliance, and it fails over like any other', async () => {
    const { session } = await pair.protect('twice', 32 * MiB, { fill: noise(4 * MiB, 9), appliance: 'A2' });
    expect(Buffer.compare(await readVolume(pair.a, 'twice'), await readVolume(pair.b, 'twice'))).toBe(0);
    await pair.act(pair.a, session, 'failover', { is_planned: true });
    await pair.until(session, 'Failed_Over');
    const host = await pair.b.open('twice');
    await host.write(0, noise(MiB, 4), { fua: true });
    await host.close();
  });

  it('a host’s connection outlives the death of the appliance that has its volume [C9.1]', async () => {
    await pair.a.client.create('volume', { name: 'outlives', size: 16 * MiB, appliance_id: 'A2' });
    const host = await pair.a.open('outlives');
    await host.write(0, noise(MiB, 1));
    await pair.killDataPlane(pair.a, 'A2');
    await host.write(MiB, noise(MiB, 2), { fua: true });
    const bytes = new Uint8Array(2 * MiB);
    await host.read(0, bytes);
    expect(Buffer.compare(bytes.subarray(0, MiB), noise(MiB, 1))).toBe(0);
    expect(Buffer.compare(bytes.subarray(MiB), noise(MiB, 2))).toBe(0);
    await host.close();
  });

  it('is checked appliance by appliance, and finds everything again after a kill of the whole', async () => {
    await pair.kill(pair.a, 'all');
    await eventually('the cluster to be back', async () => {
      const volumes = await pair.a.client.all('volume', { select: 'name,appliance_id' });
      return volumes.some(({ name, appliance_id }) => name === 'outlives' && appliance_id === 'A2');
    });
    let bytes = new Uint8Array();
    await eventually('its appliance to serve it', async () => {
      bytes = await readVolume(pair.a, 'outlives').catch(() => bytes);
      return bytes.length > 0;
    });
    expect(Buffer.compare(bytes.subarray(0, MiB), noise(MiB, 1))).toBe(0);
  });
});
