import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, MiB, noise, Pair, readVolume } from './pair.ts';

const pair = new Pair();
beforeAll(() => pair.start());
afterAll(() => pair.stop());

const sessionAt = async (id: string) => (await pair.a.client.all('replication_session')).find((one) => one.id === id);

describe('a catalog that is lost whole, with every copy of it', () => {
  it('is rebuilt from the log; once its peer is paired its sessions go on, as source and as destination, and copy nothing anew [C7.1]', async () => {
    const source = await pair.protect('source', 4 * MiB, { fill: noise(2 * MiB, 1) });
    const copy = await pair.protect('copy', 4 * MiB, { fill: noise(2 * MiB, 2) });
    await pair.act(pair.a, copy.session, 'failover', { is_planned: true });
    await pair.act(pair.b, copy.session, 'reprotect');
    await pair.settled(copy.session);
    const shipped = async () => (await pair.figures(pair.b, copy.session)).shipped_bytes_total;
    const before = await shipped();
    expect(before).toBeTypeOf('number');
    await pair.startAgain(async () => {
      const catalog = join(pair.directory, 'london', 'catalog');
      for (const file of readdirSync(catalog)) rmSync(join(catalog, file), { recursive: true });
      // What `antipode recover` leaves for the next start.
      writeFileSync(join(pair.directory, 'london', 'recover'), '');
    });
    // The lab has paired the two again, as an administrator would.
    await eventually('sessions to be taken up', async () =>
      [await sessionAt(source.session), await sessionAt(copy.session)].every((session) => session?.state === 'OK'),
    );
    expect(await sessionAt(source.session)).toMatchObject({ role: 'Source', replication_rule_id: null });
    await eventually('the policy of the peer to be told', async () => {
      const session = await sessionAt(copy.session);
      return session?.role === 'Destination' && session.replication_rule_id !== null;
    });
    expect(await pair.a.client.get('volume', copy.volume)).toMatchObject({ is_replication_destination: true });
    const [remote] = await pair.a.client.all('remote_system');
    const rule = { name: 'again', rpo: 'Five_Minutes', remote_system_id: String(remote?.id) };
    const rules = [await pair.a.client.create('replication_rule', rule)];
    const policy = await pair.a.client.create('policy', { name: 'again', replication_rule_ids: rules });
    await pair.a.client.modify('volume', source.volume, { protection_policy_id: policy });
    expect(await sessionAt(source.session)).toMatchObject({ replication_rule_id: rules[0] });
    await eventually('the peer to have the new policy alone', async () => {
      const copies = (await pair.b.client.all('policy')).filter(({ is_replica }) => is_replica === true);
      return copies.map(({ name }) => name).join() === 'again';
    });
    const device = await pair.a.open('source');
    await device.write(0, noise(MiB, 3));
    await device.flush();
    await device.close();
    await pair.act(pair.a, source.session, 'sync');
    await pair.act(pair.b, copy.session, 'sync');
    await pair.settled(source.session);
    expect(Buffer.compare(await readVolume(pair.a, 'source'), await readVolume(pair.b, 'source'))).toBe(0);
    expect(Buffer.compare(await readVolume(pair.a, 'copy'), await readVolume(pair.b, 'copy'))).toBe(0);
    expect(await shipped()).toBe(before);
  });
});
