import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, MiB } from './pair.ts';
import { Solo } from './solo.ts';

interface Delivery {
  readonly id: string;
  readonly cluster: { readonly name: string; readonly serial: string };
  readonly kind: string;
  readonly event?: { readonly event_code: string };
  readonly alert?: { readonly event_code: string; readonly state: string };
}

/** One receiver for both clusters; each signs with a key of its own. */
const keys = ['key of the first cluster', 'key of the second cluster'];
const received: { readonly path: string; readonly body: string; readonly signature: string; readonly id: string }[] =
  [];
const receiver = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const header = (name: string) => String(request.headers[name]);
    received.push({
      path: String(request.url),
      body: Buffer.concat(chunks).toString('utf8'),
      signature: header('x-antipode-signature'),
      id: header('x-antipode-delivery'),
    });
    response.writeHead(204).end();
  });
});
const sites = [new Solo(), new Solo()] as const;
const told = (site: number): readonly Delivery[] =>
  received.filter(({ path }) => path === `/hook/${site}`).map(({ body }) => JSON.parse(body) as Delivery);
const codes = (site: number) => told(site).flatMap(({ event }) => (event === undefined ? [] : [event.event_code]));

beforeAll(async () => {
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  const { port } = receiver.address() as AddressInfo;
  for (const [index, site] of sites.entries()) {
    const secret = join(site.directory, 'webhook.key');
    writeFileSync(secret, `${keys[index]}\n`, { mode: 0o600 });
    const hook = ['--webhook-url', `http://127.0.0.1:${port}/hook/${index}`, '--webhook-secret-file', secret];
    await site.start(...hook, '--heartbeat', '500ms');
  }
  const [first, second] = sites;
  const { hostname, port: rest, host } = new URL(second.url);
  await first.client.collectionAction('x509_certificate', 'exchange', {
    service: 'Replication_HTTP',
    address: hostname,
    port: Number(rest),
    username: 'admin',
    password: second.password,
  });
  await first.client.create('remote_system', {
    management_address: host,
    type: 'PowerStore',
    data_network_latency: 'Low',
  });
});
afterAll(async () => {
  for (const site of sites) await site.remove();
  receiver.closeAllConnections();
  receiver.close();
});

describe('notifications of two clusters', () => {
  test('tell a failover at both, in order, signed by each with its own key', async () => {
    const [first, second] = sites;
    await eventually('the link', async () => {
      const remote = await first.client.first('remote_system', { select: 'id,state,data_connection_state' });
      return remote?.state === 'OK' && remote.data_connection_state === 'OK';
    });
    const remote = await first.client.first('remote_system', { select: 'id' });
    const rule = await first.client.create('replication_rule', {
      name: 'r',
      rpo: 'One_Day',
      remote_system_id: String(remote?.id),
    });
    const policy = await first.client.create('policy', { name: 'p', replication_rule_ids: [rule] });
    const volume = await first.client.create('volume', { name: 'v', size: 4 * MiB, protection_policy_id: policy });
    const found = await first.client.first('replication_session', { filter: { local_resource_id: `eq.${volume}` } });
    const session = String(found?.id);
    const state = async (site: Solo) => (await site.client.get('replication_session', session)).state;
    await eventually('the first copy', async () => (await state(first)) === 'OK' && (await state(second)) === 'OK');
    await first.client.action('replication_session', session, 'failover', { is_planned: true });
    await eventually('the story at both', async () => {
      const [here, there] = [codes(0), codes(1)];
      return here.includes('0x0201010A') && there.includes('0x02010107');
    });
    const order = (site: number, wanted: readonly string[]) => codes(site).filter((code) => wanted.includes(code));
    // Paired, created, failover begun, no longer the source.
    const atFirst = ['0x02010203', '0x0201010D', '0x02010106', '0x0201010A'];
    expect(order(0, atFirst)).toEqual(atFirst);
    const atSecond = ['0x02010203', '0x0201010D', '0x02010106', '0x02010107'];
    expect(order(1, atSecond)).toEqual(atSecond);
    for (const [index, site] of sites.entries()) {
      const cluster = await site.client.get('cluster', '0', { select: 'global_id' });
      expect(new Set(told(index).map((one) => one.cluster.serial))).toEqual(new Set([cluster.global_id]));
    }
    for (const { path, body, signature, id } of received) {
      const key = keys[Number(path.at(-1))] ?? '';
      expect(signature).toBe(`sha256=${createHmac('sha256', key).update(body).digest('hex')}`);
      expect((JSON.parse(body) as Delivery).id).toBe(id);
    }
    expect(new Set(received.map(({ id }) => id)).size).toBe(received.length);
  });

  test('tell that an alert is raised and that it is cleared', async () => {
    const [first, second] = sites;
    const alerts = (kind: string) =>
      told(0).filter((one) => one.kind === kind && one.alert?.event_code === '0x02010201').length;
    // Heartbeats of half a second may have been missed before on a busy machine.
    const raised = alerts('alert_raised');
    second.kill('management');
    await eventually('the alert about the peer', async () => alerts('alert_raised') > raised);
    await eventually('its end', async () => alerts('alert_cleared') >= alerts('alert_raised'));
    await eventually('no alert to be active', async () => (await first.activeAlerts('0x02010201')).length === 0);
  });
});
