import { createHmac } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemClock, systemRandom } from '@antipode/base';
import { afterEach, describe, expect, it } from 'vitest';
import type { EventDocument } from '../catalog/documents.ts';
import { Webhook, webhookLimits } from './webhook.ts';

interface Received {
  readonly body: string;
  readonly signature: string | undefined;
}

const event = (id: number): EventDocument => ({
  id: String(id),
  event_code: '0x1',
  severity: 'Info',
  resource_type: 'volume',
  resource_id: 'v',
  resource_name: 'Zürich',
  generated_timestamp: '2026-01-01T00:00:00.000+00:00',
  description_l10n: 'something',
  system_impact_l10n: '',
  repair_flow_l10n: '',
});

let server: Server | undefined;
let hook: Webhook | undefined;
afterEach(async () => {
  hook?.stop();
  server?.closeAllConnections();
  await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
});

/** A receiver on loopback; `answers` are its statuses in order, then 204. */
async function receiver(answers: number[]) {
  const received: Received[] = [];
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const signature = request.headers['x-antipode-signature'];
      received.push({ body: Buffer.concat(chunks).toString('utf8'), signature: signature?.toString() });
      response.writeHead(answers.shift() ?? 204).end();
    });
  });
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { received, url: `http://127.0.0.1:${port}/hook/s3cret-path` };
}

/** Waits are over at once, and remembered. */
const hasty = (waits: number[]) => ({
  ...systemClock,
  after: (delay_ms: number, callback: () => void) => {
    waits.push(delay_ms);
    return systemClock.after(0, callback);
  },
});

function hookTo(url: string, waits: number[] = [], failing: (reason: string | undefined) => void = () => undefined) {
  hook = new Webhook({
    url,
    secret: 'k',
    cluster: () => ({ name: 'London', serial: 'PS1' }),
    clock: hasty(waits),
    random: systemRandom,
    failing,
  });
  return hook;
}

describe('notifications', () => {
  it('arrive in order, signed over what was sent, and say whose they are', async () => {
    const { received, url } = await receiver([]);
    const to = hookTo(url);
    for (let id = 0; id < 5; id++) to.send({ kind: 'event', event: event(id) });
    await expect.poll(() => received.length).toBe(5);
    for (const [index, { body, signature }] of received.entries()) {
      expect(JSON.parse(body)).toMatchObject({
        kind: 'event',
        cluster: { name: 'London', serial: 'PS1' },
        event: { id: String(index), resource_name: 'Zürich' },
      });
      expect(signature).toBe(`sha256=${createHmac('sha256', 'k').update(body).digest('hex')}`);
    }
  });

  it('are tried again with pauses that double while the receiver fails, and given up when it refuses', async () => {
    const { received, url } = await receiver([500, 503, 429, 204, 400]);
    const waits: number[] = [];
    const to = hookTo(url, waits);
    for (const id of [1, 2, 3]) to.send({ kind: 'event', event: event(id) });
    await expect.poll(() => received.length).toBe(6);
    const ids = received.map(({ body }) => (JSON.parse(body) as { event: { id: string } }).event.id);
    expect(ids).toEqual(['1', '1', '1', '1', '2', '3']);
    expect(waits).toEqual([1_000, 2_000, 4_000]);
  });

  it('never hold more than a bound; what was given up is counted in the next; operators hear of a receiver that fails, without its path', async () => {
    const told: (string | undefined)[] = [];
    const { received, url } = await receiver([500, 500, 500, 500, 500, 500]);
    const to = hookTo(url, [], (reason) => told.push(reason));
    for (let id = 0; id < webhookLimits.waiting + 7; id++) to.send({ kind: 'event', event: event(id) });
    await expect.poll(() => received.length, { timeout: 180_000 }).toBe(webhookLimits.waiting + 6);
    expect(JSON.parse(received[6]!.body)).toMatchObject({ dropped: 7 });
    expect(JSON.parse(received[7]!.body)).not.toHaveProperty('dropped');
    expect(told.length).toBe(2);
    expect(told[0]).toContain('answered 500');
    expect(told[0]).not.toContain('s3cret');
    expect(told[1]).toBeUndefined();
  });

  it('a receiver that is not there is a failure like any other', async () => {
    const { url } = await receiver([]);
    await new Promise((resolve) => server!.close(resolve));
    server = undefined;
    const told: (string | undefined)[] = [];
    hookTo(url, [], (reason) => told.push(reason)).send({ kind: 'event', event: event(1) });
    await expect.poll(() => told.length).toBe(1);
    expect(told[0]).toContain('ECONNREFUSED');
  });
});
