import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { places } from '../supervisor/data-dir.ts';
import { writeDurably } from '../supervisor/write-durably.ts';
import { ensureKeyPair, fingerprintOf, type KeyPair } from './certificates.ts';

/** Who this cluster is to others: its serial for life, and the key that proves it on the replication link. */
export interface LinkIdentity extends KeyPair {
  readonly serial: string;
  readonly fingerprint: string;
}

/** Makes the identity at the very first start, before any process of the cluster runs. */
export async function ensureLinkIdentity(dataDir: string): Promise<LinkIdentity> {
  const path = serialPath(dataDir);
  if (!existsSync(path)) writeDurably(path, `PS${randomBytes(6).toString('hex')}\n`);
  return loadLinkIdentity(dataDir);
}

export async function loadLinkIdentity(dataDir: string): Promise<LinkIdentity> {
  const serial = readFileSync(serialPath(dataDir), 'utf8').trim();
  const pair = await ensureKeyPair(places(dataDir).keys, 'link', serial, []);
  return { ...pair, serial, fingerprint: fingerprintOf(pair.certificate) };
}

const serialPath = (dataDir: string): string => join(places(dataDir).keys, 'serial');
