import { createPublicKey, type KeyObject } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeDurably } from '../supervisor/write-durably.ts';

/** Whose packages a cluster takes: public keys in its data directory, put there by whoever may write to it. */
const keysOf = (dataDir: string): string => join(dataDir, 'keys', 'packages');

/** An Ed25519 public key in PEM. @throws Error that says what it is instead */
export function parsePackageKey(pem: string): KeyObject {
  // A private key has a public half; who hands it out by mistake is told.
  if (/PRIVATE KEY/.test(pem))
    throw new Error('it is a private key: give its public half, and keep this one to yourself');
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch {
    throw new Error('it is no public key in PEM');
  }
  if (key.asymmetricKeyType !== 'ed25519') throw new Error(`it is a key of type ${key.asymmetricKeyType}, not Ed25519`);
  return key;
}

/** The keys as they are now: one that is added counts for the next package, without a restart. */
export function trustedKeys(dataDir: string): readonly KeyObject[] {
  const directory = keysOf(dataDir);
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((name) => name.endsWith('.pem'))
    .map((name) => parsePackageKey(readFileSync(join(directory, name), 'utf8')));
}

/** Has a cluster trust a key from now on; answers the file that says so. */
export function trustKey(dataDir: string, pem: string): string {
  const key = parsePackageKey(pem);
  const directory = keysOf(dataDir);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const { x } = key.export({ format: 'jwk' });
  const path = join(directory, `${String(x).slice(0, 16)}.pem`);
  writeDurably(path, key.export({ format: 'pem', type: 'spki' }) as string);
  return path;
}
