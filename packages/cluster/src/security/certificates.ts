import { createHash, webcrypto, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { writeDurably } from '../supervisor/write-durably.ts';

export interface KeyPair {
  /** PEM. */
  readonly certificate: string;
  readonly privateKey: string;
}

const years = 20;

/** SHA-256 of a certificate's DER, lower-case hex: what a pin compares. */
export const fingerprintOf = (certificate: string): string =>
  createHash('sha256').update(new X509Certificate(certificate).raw).digest('hex');

/** A key and its self-signed certificate, kept in two files of `directory`; made if they are not there. */
export async function ensureKeyPair(
  directory: string,
  name: string,
  subject: string,
  hosts: readonly string[],
): Promise<KeyPair> {
  const certFile = join(directory, `${name}.crt`);
  const keyFile = join(directory, `${name}.key`);
  if (existsSync(certFile) && existsSync(keyFile))
    return { certificate: readFileSync(certFile, 'utf8'), privateKey: readFileSync(keyFile, 'utf8') };
  const made = await selfSigned(subject, hosts);
  // The key first: a certificate without its key would be taken for a finished pair.
  writeDurably(keyFile, made.privateKey);
  writeDurably(certFile, made.certificate);
  return made;
}

/** A new key and the certificate that it signs itself; `hosts`: names and addresses that it is for. */
export async function selfSigned(subject: string, hosts: readonly string[]): Promise<KeyPair> {
  const x509 = await loadX509();
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const now = new Date();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: Buffer.from(webcrypto.getRandomValues(new Uint8Array(16))).toString('hex'),
    name: `CN=${subject}`,
    // A clock that is a little behind must not make it invalid.
    notBefore: new Date(now.getTime() - 86_400_000),
    notAfter: new Date(now.getTime() + years * 365 * 86_400_000),
    signingAlgorithm: algorithm,
    keys: keys as never,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      ...(hosts.length > 0 ? [new x509.SubjectAlternativeNameExtension(alternativeNames(hosts))] : []),
    ],
  });
  return { certificate: certificate.toString('pem'), privateKey: await exported(keys.privateKey) };
}

/** Who a requested certificate is for. */
export interface RequestedSubject {
  readonly names: Readonly<Record<'CN' | 'O' | 'OU' | 'L' | 'ST' | 'C', string | undefined>>;
  readonly hosts: readonly string[];
}

/** A new RSA key and a request (PKCS 10) that an authority can sign; the key is PEM and is to stay here. */
export async function requestCertificate(
  { names, hosts }: RequestedSubject,
  keyLength_bits: number,
): Promise<{ readonly request: string; readonly privateKey: string }> {
  const x509 = await loadX509();
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(
    { ...algorithm, modulusLength: keyLength_bits, publicExponent: new Uint8Array([1, 0, 1]) },
    true,
    ['sign', 'verify'],
  );
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: Object.entries(names).flatMap(([name, value]) => (value === undefined ? [] : [{ [name]: [value] }])),
    keys: keys as never,
    signingAlgorithm: algorithm,
    extensions: hosts.length > 0 ? [new x509.SubjectAlternativeNameExtension(alternativeNames(hosts))] : [],
  });
  return { request: request.toString('pem'), privateKey: await exported(keys.privateKey) };
}

/** Needed a few times in the life of a cluster: not kept in the memory of every process. */
async function loadX509() {
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  x509.cryptoProvider.set(webcrypto as never);
  return x509;
}

const alternativeNames = (hosts: readonly string[]) =>
  hosts.map((host) => ({ type: isIP(host) === 0 ? ('dns' as const) : ('ip' as const), value: host }));

async function exported(key: webcrypto.CryptoKey): Promise<string> {
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${pkcs8.replace(/(.{64})/g, '$1\n').trim()}\n-----END PRIVATE KEY-----\n`;
}
