import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, MiB, noise, Pair } from './pair.ts';

/** What an operator can read afterwards: events, alerts, jobs, history and metrics of two real clusters. */
const pair = new Pair();
beforeAll(() => pair.start());
afterAll(() => pair.stop());

const own = async (path: string) => (await pair.a.client.request('GET', `/api/antipode/v1/${path}`)).body;

describe('whoever reads only what is told', () => {
  it('can say what happened: sync, pause, a failover test, a failover, reprotect', async () => {
    const { session } = await pair.protect('told', 8 * MiB, { fill: noise(2 * MiB, 1) });
    await pair.act(pair.a, session, 'sync');
    await pair.settled(session);
    await pair.act(pair.a, session, 'pause');
    await pair.until(session, 'Paused');
    await pair.act(pair.a, session, 'resume');
    await pair.settled(session);
    await pair.act(pair.b, session, 'start_failover_test', {});
    await pair.act(pair.b, session, 'stop_failover_test', {});
    await pair.act(pair.b, session, 'failover', { is_planned: false });
    await pair.until(session, 'Failed_Over');
    await pair.act(pair.b, session, 'reprotect');
    await pair.settled(session);
    const told = async (site: typeof pair.a) =>
      (await site.client.all('event', { select: '*', filter: { resource_id: `eq.${session}` } })).map((event) =>
        String(event.event_code),
      );
    // Created, first copy begun and done, synchronized by a user, paused, resumed, and no longer the source.
    const atSource = ['0x0201010D', '0x02010101', '0x02010102', '0x02010101', '0x02010102', '0x02010104', '0x02010105'];
    await eventually('the source to have told it', async () => (await told(pair.a)).includes('0x0201010A'));
    expect((await told(pair.a)).filter((code) => code !== '0x02010103').slice(0, 7)).toEqual(atSource);
    // Test begun and ended, failover begun and done, protected again.
    const atDestination = (await told(pair.b)).filter((code) => !['0x02010101', '0x02010102'].includes(code));
    expect(atDestination.slice(-5)).toEqual(['0x02010111', '0x02010112', '0x02010106', '0x02010107', '0x0201010B']);
    for (const site of [pair.a, pair.b])
      await eventually(
        'no alert to be active',
        async () => (await site.client.all('alert', { select: 'id', filter: { state: 'eq.ACTIVE' } })).length === 0,
      );
    const jobs = await pair.b.client.all('job', { select: '*', filter: { resource_id: `eq.${session}` } });
    expect(jobs.map((job) => [job.resource_action, job.state])).toEqual([
      ['start_failover_test', 'COMPLETED'],
      ['stop_failover_test', 'COMPLETED'],
      ['failover', 'COMPLETED'],
      ['reprotect', 'COMPLETED'],
    ]);
  });

  it('sees in the job of a failover how far its copying is', async () => {
    const { session } = await pair.protect('slow', 32 * MiB);
    const host = await pair.a.open('slow');
    for (let at = 0; at < 32 * MiB; at += MiB) await host.write(at, noise(MiB, at + 1));
    await host.flush();
    await host.close();
    await pair.link('--rate', '40mbit');
    const job = await pair.a.client.startJob('POST', `replication_session/${session}/failover`, { is_planned: true });
    const shown: number[] = [];
    const state = async () => {
      const { state: now, progress_percentage } = await pair.a.client.get('job', job);
      shown.push(Number(progress_percentage));
      return String(now);
    };
    await eventually('some of it', async () => (await state()) === 'IN_PROGRESS' && shown.at(-1)! > 0);
    expect(shown.at(-1)).toBeLessThan(100);
    await pair.link('--rate', 'unlimited');
    await eventually('the end', async () => (await state()) === 'COMPLETED');
    expect(shown.at(-1)).toBe(100);
    expect(shown).toEqual(shown.toSorted((one, other) => one - other));
  });

  it('sees every cycle in the history, the places on the link, and lag, objective and bytes in the metrics [P6]', async () => {
    const { session } = await pair.protect('measured', 8 * MiB, { fill: noise(2 * MiB, 2) });
    await pair.act(pair.a, session, 'sync');
    await eventually(
      'two cycles',
      async () => ((await own(`replication_sessions/${session}/history`)) as []).length === 2,
    );
    const [newest, oldest] = (await own(`replication_sessions/${session}/history`)) as Record<string, unknown>[];
    expect(oldest).toMatchObject({ trigger: 'initial', achieved_rpo_ms: null, shipped_bytes: 2 * MiB });
    expect(newest).toMatchObject({ trigger: 'user', shipped_bytes: 0, rpo_ms: 86_400_000 });
    expect(Number(newest?.achieved_rpo_ms)).toBeGreaterThan(0);
    const remote = await pair.a.client.first('remote_system', { select: 'id' });
    const places = async () => JSON.stringify(await own(`remote_systems/${String(remote?.id)}/cycles`));
    await eventually(
      'places on the link that are free again',
      async () => (await places()) === JSON.stringify({ most: 8, running: [], waiting: [] }),
    );

    const site = new URL(pair.a.url);
    const bare = await fetchText(new URL('/metrics', site));
    expect(bare.status).toBe(401);
    const basic = Buffer.from(`admin:${pair.a.password}`).toString('base64');
    const { status, text } = await fetchText(new URL('/metrics', site), `Basic ${basic}`);
    expect(status).toBe(200);
    const labels = `session="${session}",resource="measured",role="source"`;
    for (const [name, value] of [
      ['antipode_replication_rpo_met', '1'],
      ['antipode_replication_rpo_seconds', '86400'],
      ['antipode_replication_remaining_bytes', '0'],
      ['antipode_replication_shipped_bytes_total', String(2 * MiB)],
      ['antipode_replication_cycles_completed_total', '2'],
    ])
      expect(text).toContain(`${name}{${labels}} ${value}\n`);
    expect(text).toMatch(new RegExp(`antipode_replication_lag_seconds\\{${labels}\\} [0-9.]+\\n`));
    expect(text).toContain('antipode_link_cycles_waiting{remote_system="Osaka"} 0\n');
    expect(text).toContain('antipode_alerts_active{severity="Critical"} 0\n');
  });
});

async function fetchText(url: URL, authorization?: string): Promise<{ status: number; text: string }> {
  const { request } = await import('node:https');
  return new Promise((resolve, reject) => {
    const headers = authorization === undefined ? {} : { authorization };
    const asked = request(url, { headers, rejectUnauthorized: false }, (answer) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => {
        text += chunk.toString('utf8');
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }));
    });
    asked.on('error', reject).end();
  });
}
