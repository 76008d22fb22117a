import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, MiB, Pair, refusal } from './pair.ts';

const pair = new Pair();
beforeAll(() => pair.start());
afterAll(() => pair.stop());

const peers = (site: typeof pair.a) => site.client.all('remote_system');
const hostOf = (site: typeof pair.a) => new URL(site.url).host;

describe('pairing', () => {
  it('makes an entry in both directions, each with the other’s serial', async () => {
    await eventually('both to see each other', async () =>
      [...(await peers(pair.a)), ...(await peers(pair.b))].every(
        ({ state, data_connection_state }) => state === 'OK' && data_connection_state === 'OK',
      ),
    );
    const [atA] = await peers(pair.a);
    const [atB] = await peers(pair.b);
    const [clusterA] = await pair.a.client.all('cluster');
    const [clusterB] = await pair.b.client.all('cluster');
    expect(atA).toMatchObject({
      name: 'Osaka',
      serial_number: clusterB?.global_id,
      type: 'PowerStore',
      state: 'OK',
      data_connection_state: 'OK',
      management_address: hostOf(pair.b),
    });
    expect(atB).toMatchObject({ name: 'London', serial_number: clusterA?.global_id, state: 'OK' });
    await pair.a.client.action('remote_system', String(atA?.id), 'verify');
  });

  it('cannot be removed while a rule uses it; removed, it is gone on both sides; without a new exchange it cannot be entered', async () => {
    const id = String((await peers(pair.a))[0]?.id);
    const rule = await pair.a.client.create('replication_rule', {
      name: 'holds',
      rpo: 'One_Hour',
      remote_system_id: id,
    });
    expect((await refusal(pair.a.client.remove('remote_system', id))).message).toContain('holds');
    await pair.a.client.remove('replication_rule', rule);
    await pair.a.client.remove('remote_system', id);
    await eventually(
      'both entries to be gone',
      async () => (await peers(pair.a)).length === 0 && (await peers(pair.b)).length === 0,
    );
    const create = () =>
      pair.a.client.create('remote_system', {
        management_address: hostOf(pair.b),
        type: 'PowerStore',
        data_network_latency: 'Low',
      });
    expect((await refusal(create())).status).toBe(422);
    const exchange = (password: string) =>
      pair.a.client.collectionAction('x509_certificate', 'exchange', {
        service: 'Replication_HTTP',
        address: hostOf(pair.b).split(':')[0],
        port: Number(hostOf(pair.b).split(':')[1]),
        username: 'admin',
        password,
      });
    const wrong = await refusal(exchange('not the password'));
    expect(wrong.status).toBe(422);
    expect(wrong.message).not.toContain('not the password');
    await exchange(pair.b.password);
    await create();
    await eventually('the pair to be back', async () => (await peers(pair.b)).length === 1);
  });

  it('as a job, when asked for: the id of the job is the answer, and the job ends', async () => {
    const { body, status } = await pair.a.client.request('POST', '/api/rest/volume?is_async=true', {
      name: 'by-job',
      size: 8 * MiB,
    });
    expect(status).toBe(202);
    const job = await pair.a.client.waitForJob((body as { id: string }).id);
    expect(job).toMatchObject({
      state: 'COMPLETED',
      phase: 'Completed',
      resource_type: 'volume',
      resource_action: 'create',
      response_status: '201',
    });
    expect(await pair.a.client.get('volume', 'name:by-job', { select: 'id' })).toEqual({ id: job.resource_id });
    const audited = await pair.a.client.first('audit_event', {
      select: 'username,resource_action,is_successful',
      filter: { job_id: `eq.${job.id}` },
    });
    expect(audited).toMatchObject({ username: 'admin', resource_action: 'create', is_successful: true });
  });
});
