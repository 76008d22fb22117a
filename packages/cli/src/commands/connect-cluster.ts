import { readFileSync, statSync } from 'node:fs';
import { ApiError, type Client, ConnectionError, connect, type TlsTrust } from '@antipode/client';
import { limits } from '../limits.ts';
import type { Values } from '../options/option.ts';
import type { connectionOptions } from '../options/tables.ts';
import { CommandError, UsageError } from '../options/usage-error.ts';

/** Logs in to the cluster that a command's connection options name. @throws UsageError, CommandError */
export async function connectCluster(values: Values<typeof connectionOptions>): Promise<Client> {
  const { url, user, password } = values;
  if (url === undefined) throw new UsageError('--url is required: the address of the REST interface');
  if (!URL.canParse(url) || new URL(url).protocol !== 'https:')
    throw new UsageError(`--url must be https://HOST:PORT, not '${url}'`);
  const secret = values.passwordFile === undefined ? password : firstLine(values.passwordFile);
  if (secret === undefined) throw new UsageError('a password is needed: --password-file or ANTIPODE_PASSWORD');
  try {
    return await connect({ url, username: user, password: secret, tls: trustOf(values) });
  } catch (error) {
    throw asCommandError(error);
  }
}

function trustOf({ ca, fingerprint, insecure }: Values<typeof connectionOptions>): TlsTrust {
  if ([ca, fingerprint, insecure || undefined].filter((given) => given !== undefined).length > 1)
    throw new UsageError('--ca, --fingerprint and --insecure exclude each other');
  if (ca !== undefined) return { mode: 'ca', ca: readText('--ca', ca) };
  if (fingerprint !== undefined) return { mode: 'fingerprint', sha256: fingerprint };
  return insecure ? { mode: 'insecure' } : { mode: 'system' };
}

function firstLine(path: string): string {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() && statSync(path).size > limits.passwordFileMost_bytes)
    throw new UsageError(`--password-file ${path} is too large for a password`);
  return readText('--password-file', path).split(/\r?\n/)[0] ?? '';
}

function readText(flag: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`${flag} ${path} cannot be read: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
}

/** What a cluster refused, or that it could not be reached, is for the user; anything else is a defect. */
export const asCommandError = (error: unknown): unknown =>
  error instanceof ApiError || error instanceof ConnectionError
    ? new CommandError(error.message, { cause: error })
    : error;
