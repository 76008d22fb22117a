import type { Clock } from '@antipode/base';
import { type Client, ConnectionError, type RemoteSystem } from '@antipode/client';
import { limits } from '../limits.ts';
import type { LabSite } from './record.ts';

const remoteOf = async (client: Client, serial: string): Promise<RemoteSystem | undefined> =>
  await client.first('remote_system', { select: '*', filter: { serial_number: `eq.${serial}` } });

const serialOf = async (client: Client): Promise<string> => {
  const cluster = await client.first('cluster', { select: ['id', 'global_id'] });
  if (cluster?.global_id === undefined) throw new Error('the cluster does not say its serial number');
  return cluster.global_id;
};

/**
 * Pairs two clusters the way an administrator does: exchange of certificates, then a remote system; nothing when they are
 * paired already. Resolves when each sees the other.
 */
export async function pair(
  first: Client,
  second: Client,
  secondSite: LabSite,
  clock: Clock,
  stop?: AbortSignal,
): Promise<void> {
  const [firstSerial, secondSerial] = await Promise.all([serialOf(first), serialOf(second)]);
  if ((await remoteOf(first, secondSerial)) === undefined) {
    const { hostname, port, host } = new URL(secondSite.url);
    await first.collectionAction('x509_certificate', 'exchange', {
      service: 'Replication_HTTP',
      address: hostname,
      port: Number(port),
      username: secondSite.username,
      password: secondSite.password,
    });
    await first.create('remote_system', { management_address: host, type: 'PowerStore', data_network_latency: 'Low' });
  }
  const until_ms = clock.monotonic() + limits.pairing_ms;
  for (const [client, serial] of [
    [first, secondSerial],
    [second, firstSerial],
  ] as const) {
    let seen = 'nothing';
    while (true) {
      try {
        const remote = await remoteOf(client, serial);
        if (remote?.state === 'OK' && remote.data_connection_state === 'OK') break;
        seen =
          remote === undefined
            ? 'no remote system'
            : `${remote.state}, data connection ${remote.data_connection_state}`;
      } catch (error) {
        if (!(error instanceof ConnectionError)) throw error;
        seen = error.message;
      }
      if (clock.monotonic() > until_ms) throw new Error(`the two clusters do not find each other: ${seen}`);
      await clock.sleep(limits.poll_ms, stop);
    }
  }
}
