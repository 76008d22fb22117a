import { readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import type { Pace } from '@antipode/base';
import type { ClusterConfig } from '@antipode/cluster';
import { readPace } from '../lab/pace.ts';
import { limits } from '../limits.ts';
import type { Values } from '../options/option.ts';
import { defaultClusterName, type serveOptions } from '../options/tables.ts';
import { UsageError } from '../options/usage-error.ts';

export type ServeValues = Values<typeof serveOptions>;

/** Checks what no single setting can tell and makes a cluster's configuration. @throws UsageError */
export function clusterConfig(values: ServeValues): ClusterConfig {
  const { data, advertisePeer, advertiseReplication } = values;
  if (data === undefined) throw new UsageError('--data is required: the directory of the cluster');
  const tls = allOrNone({ '--tls-cert': values.tlsCert, '--tls-key': values.tlsKey });
  const adminPassword = readAdminPassword(values);
  for (const [flag, path] of Object.entries({
    '--tls-cert': values.tlsCert,
    '--tls-key': values.tlsKey,
    '--nbd-tls-cert': values.nbdTlsCert,
    '--nbd-tls-key': values.nbdTlsKey,
    '--nbd-client-ca': values.nbdClientCa,
    '--webhook-secret-file': values.webhookSecretFile,
  }))
    if (path !== undefined) checkReadable(flag, path);
  refuseSharedPort(values);
  if (values.webhookSecretFile !== undefined && values.webhookUrl === undefined)
    throw new UsageError('--webhook-secret-file needs --webhook-url as well');
  if (values.webhookSecretFile !== undefined) checkSecret('--webhook-secret-file', values.webhookSecretFile);
  return {
    dataDir: data,
    appliances: values.appliances,
    name: values.name ?? defaultClusterName(),
    listen: values.listen,
    nbd: values.nbd,
    peer: values.peer,
    replication: values.replication,
    advertise: {
      ...(advertisePeer === undefined ? {} : { peer: advertisePeer }),
      ...(advertiseReplication === undefined ? {} : { replication: advertiseReplication }),
    },
    ...(tls === undefined ? {} : { tls: { certFile: tls[0], keyFile: tls[1] } }),
    nbdAccess: nbdAccess(values),
    ...(adminPassword === undefined ? {} : { adminPassword }),
    ...(values.webhookUrl !== undefined && {
      webhook: {
        url: values.webhookUrl,
        ...(values.webhookSecretFile !== undefined && { secretFile: values.webhookSecretFile }),
      },
    }),
    logLevel: values.logLevel,
    heartbeat_ms: values.heartbeat,
    scrubEvery_ms: values.scrubEvery,
    scrubRate_bytes_per_s: values.scrubRate,
    packCold: values.packCold,
    packAfter_ms: values.packAfter,
    localPauseResume: values.localPauseResume,
    schedule: values.schedule,
    cyclesAtOnce: values.cyclesAtOnce,
    takeoverWithin_ms: values.takeoverWithin,
    ...(values.labClock !== undefined && { pace: labPace(values.labClock) }),
  };
}

function labPace(path: string): Pace {
  checkReadable('--lab-clock', path);
  const pace = readPace(path);
  if (pace === undefined) throw new UsageError(`--lab-clock ${path} is not a clock that a lab has made`);
  return pace;
}

function nbdAccess(values: ServeValues): ClusterConfig['nbdAccess'] {
  const tls = allOrNone({
    '--nbd-tls-cert': values.nbdTlsCert,
    '--nbd-tls-key': values.nbdTlsKey,
    '--nbd-client-ca': values.nbdClientCa,
  });
  if (tls !== undefined) {
    if (values.nbdOpen)
      throw new UsageError('--nbd-open and --nbd-tls-cert exclude each other: NBD is open or it is not');
    const [certFile, keyFile, clientCaFile] = tls;
    return { mode: 'tls', certFile, keyFile, clientCaFile };
  }
  if (values.nbdOpen || isLoopback(values.nbd.host)) return { mode: 'open' };
  throw new UsageError(
    `--nbd ${values.nbd.host} is reachable from other machines: give --nbd-tls-cert, --nbd-tls-key and --nbd-client-ca, or allow every client with --nbd-open`,
  );
}

/** Whether an address can be reached from this machine alone. A name counts only when it is localhost. */
export function isLoopback(host: string): boolean {
  if (isIP(host) === 4) return host.startsWith('127.');
  return host === '::1' || host.toLowerCase() === 'localhost';
}

/** The paths of settings that only make sense together; undefined when none is given. */
function allOrNone(files: Readonly<Record<string, string | undefined>>): readonly [string, string, string] | undefined {
  const missing = Object.entries(files).filter(([, path]) => path === undefined);
  if (missing.length === Object.keys(files).length) return undefined;
  if (missing.length > 0) {
    const has = Object.entries(files).find(([, path]) => path !== undefined)?.[0];
    throw new UsageError(`${has} needs ${missing.map(([flag]) => flag).join(' and ')} as well`);
  }
  const [first = '', second = '', third = ''] = Object.values(files);
  return [first, second, third];
}

function readAdminPassword(values: ServeValues): string | undefined {
  if (values.adminPasswordFile === undefined) return values.adminPassword;
  if (values.adminPassword !== undefined)
    throw new UsageError('--admin-password-file and ANTIPODE_ADMIN_PASSWORD exclude each other');
  const path = values.adminPasswordFile;
  checkReadable('--admin-password-file', path);
  if (statSync(path).size > limits.passwordFileMost_bytes)
    throw new UsageError(`--admin-password-file ${path} is too large for a password`);
  const password = readFileSync(path, 'utf8').split(/\r?\n/)[0] ?? '';
  if (password.length < 8 || password.length > 128)
    throw new UsageError(`--admin-password-file ${path}: its first line must be a password of 8 to 128 characters`);
  return password;
}

/** The first line of a file that holds a key. */
function checkSecret(flag: string, path: string): void {
  if (statSync(path).size > limits.passwordFileMost_bytes)
    throw new UsageError(`${flag} ${path} is too large for a key`);
  if ((readFileSync(path, 'utf8').split(/\r?\n/)[0] ?? '').length < 16)
    throw new UsageError(`${flag} ${path}: its first line must be a key of 16 characters or more`);
}

function checkReadable(flag: string, path: string): void {
  try {
    if (!statSync(path).isFile()) throw new UsageError(`${flag} ${path} is not a file`);
    readFileSync(path);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${flag} ${path} cannot be read: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
}

function refuseSharedPort(values: ServeValues): void {
  const listeners = Object.entries({
    '--listen': values.listen,
    '--nbd': values.nbd,
    '--peer': values.peer,
    '--replication': values.replication,
  });
  const seen = new Map<string, string>();
  for (const [flag, { host, port }] of listeners) {
    const key = `${host} ${port}`;
    const other = seen.get(key);
    if (port !== 0 && other !== undefined)
      throw new UsageError(`${flag} and ${other} are the same address: ${host}:${port}`);
    seen.set(key, flag);
  }
}
