import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { places } from '../supervisor/data-dir.ts';
import { ensureKeyPair, fingerprintOf } from './certificates.ts';
import { ensureLinkIdentity, loadLinkIdentity } from './link-identity.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'keys-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

it('a key pair is made once, belongs together, names its hosts and is of its owner alone', async () => {
  const made = await ensureKeyPair(directory, 'rest', 'London', ['localhost', '127.0.0.1', '::1']);
  expect(await ensureKeyPair(directory, 'rest', 'Osaka', ['example'])).toEqual(made);
  const certificate = new X509Certificate(made.certificate);
  expect(certificate.checkPrivateKey(createPrivateKey(made.privateKey))).toBe(true);
  expect(certificate.subject).toBe('CN=London');
  expect(certificate.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
  expect(certificate.checkHost('localhost')).toBe('localhost');
  expect([certificate.checkIP('127.0.0.1'), certificate.checkIP('::1')]).toEqual(['127.0.0.1', '::1']);
  expect([certificate.checkHost('example'), certificate.checkIP('127.0.0.2')]).toEqual([undefined, undefined]);
  expect(Date.parse(certificate.validFrom)).toBeLessThan(Date.now());
  expect(readdirSync(directory).sort()).toEqual(['rest.crt', 'rest.key']);
  for (const file of readdirSync(directory)) expect(statSync(join(directory, file)).mode & 0o777).toBe(0o600);
});

it('a pair that lost a half is made anew', async () => {
  const made = await ensureKeyPair(directory, 'rest', 'London', []);
  rmSync(join(directory, 'rest.crt'));
  const again = await ensureKeyPair(directory, 'rest', 'London', []);
  expect(again.privateKey).not.toBe(made.privateKey);
  expect(new X509Certificate(again.certificate).checkPrivateKey(createPrivateKey(again.privateKey))).toBe(true);
});

it('a fingerprint is the SHA-256 of the DER', async () => {
  const { certificate } = await ensureKeyPair(directory, 'rest', 'London', []);
  const told = new X509Certificate(certificate).fingerprint256.replaceAll(':', '').toLowerCase();
  expect(fingerprintOf(certificate)).toBe(told);
});

it('a cluster keeps its serial and its link key for life', async () => {
  mkdirSync(places(directory).keys, { recursive: true });
  const first = await ensureLinkIdentity(directory);
  expect(first.serial).toMatch(/^PS[0-9a-f]{12}$/);
  expect(first.fingerprint).toBe(fingerprintOf(first.certificate));
  expect(await ensureLinkIdentity(directory)).toEqual(first);
  expect(await loadLinkIdentity(directory)).toEqual(first);
});
