import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Solo } from './solo.ts';

const solo = new Solo();
beforeAll(() => solo.start());
afterAll(() => solo.remove());

/** The thumbprint of the certificate that a new connection meets. */
const met = (): Promise<string> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(solo.url);
    const socket = connectTls({ host: hostname, port: Number(port), rejectUnauthorized: false }, () => {
      resolve(socket.getPeerX509Certificate()!.fingerprint256.replaceAll(':', '').toLowerCase());
      socket.destroy();
    });
    socket.on('error', reject);
  });
/** The one that is said to be in use. */
async function said(): Promise<string> {
  const rows = (await solo.client.request('GET', '/api/rest/x509_certificate?select=*')).body as {
    readonly service: string;
    readonly is_current: boolean;
    readonly members: readonly { readonly thumbprint: string }[];
  }[];
  return rows.find((row) => row.service === 'Management_HTTP' && row.is_current)!.members[0]!.thumbprint;
}

it('what is said to be served is served: from the start, after a change, and after a restart', async () => {
  const first = await met();
  expect(await said()).toBe(first);
  await solo.client.collectionAction('x509_certificate', 'reset_certificates', { service: 'Management_HTTP' });
  const second = await met();
  expect(second).not.toBe(first);
  expect(await said()).toBe(second);
  await solo.stop();
  await solo.start();
  expect([await met(), await said()]).toEqual([second, second]);
});
