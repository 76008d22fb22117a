import { systemClock } from '@antipode/base';
import { expect, it } from 'vitest';
import { testIdentity } from './test-identity.ts';
import { tlsNetwork } from './tls-network.ts';

/** Who two ends take each other for. */
async function introduced(here: Awaited<ReturnType<typeof testIdentity>>, there: typeof here) {
  let listener: ReturnType<typeof tlsNetwork.listener> | undefined;
  const seen = new Promise<string>((resolve) => {
    listener = tlsNetwork.listener(there, ({ socket, fingerprint }) => {
      socket.on('error', () => undefined);
      resolve(fingerprint);
    });
  });
  const { host, port } = await listener!.listen({ host: '127.0.0.1', port: 0 });
  const { socket, fingerprint } = await tlsNetwork.connect(
    { host, port, fingerprint: there.fingerprint },
    here,
    systemClock,
  );
  socket.on('error', () => undefined);
  const result = { atListener: await seen, atCaller: fingerprint };
  socket.destroy();
  await listener!.close();
  return result;
}

it('each end is known by its certificate; one that has expired is nobody, at either end', async () => {
  const [london, osaka, old] = await Promise.all([
    testIdentity('London'),
    testIdentity('Osaka'),
    testIdentity('Old', new Date(Date.now() - 1000)),
  ]);
  expect(await introduced(london, osaka)).toEqual({ atListener: london.fingerprint, atCaller: osaka.fingerprint });
  expect(await introduced(old, osaka)).toEqual({ atListener: '', atCaller: osaka.fingerprint });
  expect(await introduced(london, old)).toEqual({ atListener: london.fingerprint, atCaller: '' });
});
