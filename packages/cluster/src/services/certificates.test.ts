import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, systemRandom } from '@antipode/base';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalog } from '../catalog/catalog.ts';
import type { RequestContext } from '../rest/handlers.ts';
import { type KeyPair, selfSigned } from '../security/certificates.ts';
import { KeyStore } from '../security/key-store.ts';
import { CertificateService } from './certificates.ts';
import { Reporter } from './occurrences.ts';

let directory: string;
let catalog: Catalog;
let keys: KeyStore;
let shown: KeyPair;
let first: KeyPair;
let link: KeyPair;
let now_ms: number;
let service: CertificateService;

function open(inFiles = false) {
  catalog = new Catalog(join(directory));
  const clock = { ...systemClock, now: () => now_ms };
  service = new CertificateService({
    catalog,
    clock,
    random: systemRandom,
    reporter: new Reporter(catalog, clock, systemRandom),
    keys,
    served: keys.served() ?? first,
    serve: (pair) => {
      shown = pair;
    },
    inFiles,
    subject: () => ({ name: 'London', hosts: ['localhost', '127.0.0.1'] }),
    link: { serial: 'PS000000000001', certificate: link.certificate },
  });
  service.enter();
}
const ask = async (operation: string, id: string, body: object): Promise<Record<string, unknown>> =>
  ((await service.handlers()[`x509_certificate.${operation}`]!({} as RequestContext, id, body)) ?? {}) as Record<
    string,
    unknown
  >;
const refusal = (operation: string, id: string, body: object) =>
  ask(operation, id, body).then(
    () => 'done',
    (error: Error) => error.message,
  );
const management = { type: 'Server', service: 'Management_HTTP' } as const;
const rows = () => catalog.list('x509_certificate', 'service', 'Management_HTTP');
const current = () => rows().filter(({ is_current }) => is_current);
const thumbprint = (pem: string) => new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase();

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'certificates-'));
  keys = new KeyStore(directory);
  now_ms = Date.now();
  [first, link] = await Promise.all([selfSigned('London', ['localhost']), selfSigned('PS000000000001', [])]);
  shown = first;
  open();
});
afterEach(() => {
  catalog.close();
  rmSync(directory, { recursive: true, force: true });
});

describe('the certificate of the REST interface', () => {
  it('is shown as it is served, beside that of the replication link', () => {
    expect(current()).toMatchObject([
      { type: 'Server', is_valid: true, members: [{ thumbprint: thumbprint(first.certificate), depth: 1 }] },
    ]);
    expect(catalog.list('x509_certificate', 'service', 'Replication_HTTP')).toMatchObject([
      { scope: 'PS000000000001', is_current: true },
    ]);
  });

  it('is requested, signed elsewhere, and served; its key never leaves its file, which is its owner’s alone', async () => {
    const asked = await ask('csr', '', {
      ...management,
      key_length: 2048,
      common_name: 'array.example',
      organization: 'Example',
      country: 'de',
      dns_name: ['array.example'],
      ip_addresses: ['192.0.2.1'],
    });
    const x509 = await import('@peculiar/x509');
    const request = new x509.Pkcs10CertificateRequest(String(asked.certificate_request));
    expect(await request.verify()).toBe(true);
    expect(request.subject).toBe('CN=array.example, O=Example, C=DE');
    expect(catalog.get('x509_certificate', String(asked.id))).toMatchObject({ is_current: false, is_valid: false });
    const held = readFileSync(join(directory, `x509-${asked.id}.pem`), 'utf8');
    expect(JSON.stringify([asked, rows()])).not.toContain('PRIVATE KEY');
    expect(statSync(join(directory, `x509-${asked.id}.pem`)).mode & 0o077).toBe(0);

    const authority = await webcrypto(2048);
    const signed = await x509.X509CertificateGenerator.create({
      subject: request.subject,
      issuer: 'CN=Authority',
      notBefore: new Date(now_ms - 1_000),
      notAfter: new Date(now_ms + 86_400_000),
      publicKey: await request.publicKey.export(),
      signingKey: authority.privateKey,
      signingAlgorithm: rsa,
    });
    expect(await refusal('modify', String(asked.id), { is_current: true })).toContain('what the authority has signed');
    await ask('modify', String(asked.id), { is_current: true, certificate: signed.toString('pem') });
    expect(current()).toMatchObject([
      { id: asked.id, is_valid: true, members: [{ public_key_algorithm: 'RSA', key_length: 2048 }] },
    ]);
    expect(thumbprint(shown.certificate)).toBe(thumbprint(signed.toString('pem')));
    expect(held).toContain(shown.privateKey.trim());
    expect(readdirSync(directory).filter((name) => name.endsWith('.pem'))).toEqual(['rest.pem']);

    catalog.close();
    open();
    expect(current()).toMatchObject([{ id: asked.id }]);
    now_ms += 2 * 86_400_000;
    service.refresh();
    expect(current()).toMatchObject([{ is_valid: false }]);
  });

  it('is given with its key, in use at once or later, and made anew', async () => {
    const given = await selfSigned('given', ['localhost']);
    const body = { ...management, certificate: given.certificate, private_key: given.privateKey };
    const { id } = await ask('create', '', body);
    expect(shown).toBe(first);
    await ask('modify', String(id), { is_current: true });
    expect(thumbprint(shown.certificate)).toBe(thumbprint(given.certificate));
    const other = await selfSigned('other', []);
    await ask('create', '', { ...body, certificate: other.certificate, private_key: other.privateKey });
    await ask('reset_certificates', '', { service: 'Management_HTTP' });
    expect(rows()).toMatchObject([{ is_current: true, members: [{ subject: 'CN=London' }] }]);
    expect(keys.served()?.certificate.trim()).toBe(shown.certificate.trim());
  });

  it('is refused where it could not be served, and nothing changes', async () => {
    const [given, other] = await Promise.all([selfSigned('given', []), selfSigned('other', [])]);
    const body = { ...management, certificate: given.certificate, private_key: given.privateKey, is_current: true };
    const before = JSON.stringify(rows());
    for (const [change, why] of [
      [{ private_key: other.privateKey }, 'not the one'],
      [{ private_key: 'nonsense' }, 'cannot be read'],
      [{ private_key: undefined }, 'private_key'],
      [{ certificate: 'nonsense' }, 'none in PEM'],
      [{ certificate: `${given.certificate}\n${other.certificate}` }, 'did not issue'],
      [{ service: 'LDAP_HTTP' }, 'LDAP_HTTP'],
      [{ type: 'Client' }, 'Client'],
      [{ scope: 'x' }, '/scope'],
    ] as const)
      expect(await refusal('create', '', { ...body, ...change }), why).toContain(why);
    now_ms += 30 * 365 * 86_400_000;
    expect(await refusal('create', '', body)).toContain('not valid now');
    expect(await refusal('modify', current()[0]!.id, { is_current: false })).toContain('in use');
    expect(await refusal('modify', 'none', { is_current: true })).toContain('none');
    expect(JSON.stringify(rows())).toBe(before);
    expect(shown).toBe(first);
  });

  it('that was given in files at the start is changed there', async () => {
    catalog.close();
    open(true);
    for (const [operation, body] of [
      ['csr', { ...management, key_length: 2048 }],
      ['reset_certificates', { service: 'Management_HTTP' }],
    ] as const)
      expect(await refusal(operation, '', body)).toContain('files');
  });

  it('is told of 30 days before it expires, once, until another takes its place', async () => {
    const alerts = (state: string) =>
      catalog.list('alert', 'state', state).filter(({ event_code }) => event_code === '0x02040103');
    const end = new Date(new X509Certificate(first.certificate).validTo);
    now_ms = end.getTime() - 30 * 86_400_000 - 1;
    service.refresh();
    expect(alerts('ACTIVE')).toEqual([]);
    now_ms += 1;
    service.refresh();
    service.refresh();
    expect(alerts('ACTIVE')).toMatchObject([
      { severity: 'Major', resource_name: 'London', description_l10n: expect.stringContaining(end.toISOString()) },
    ]);
    expect(catalog.list('event', 'event_code', '0x02040103')).toHaveLength(1);
    catalog.close();
    open();
    expect(alerts('ACTIVE')).toHaveLength(1);
    now_ms = Date.now();
    await ask('reset_certificates', '', { service: 'Management_HTTP' });
    expect([alerts('ACTIVE').length, alerts('CLEARED').length]).toEqual([0, 1]);
  });

  it('of the link is told of as well, until a start has a new one', async () => {
    const alerts = (state: string) =>
      catalog.list('alert', 'state', state).filter(({ event_code }) => event_code === '0x02040104');
    now_ms = Date.parse(new X509Certificate(link.certificate).validTo) - 30 * 86_400_000;
    service.refresh();
    service.refresh();
    expect(alerts('ACTIVE')).toHaveLength(1);
    catalog.close();
    now_ms = Date.now();
    link = await selfSigned('PS000000000001', []);
    open();
    expect([alerts('ACTIVE').length, alerts('CLEARED').length]).toEqual([0, 1]);
  });

  it('requests that nobody goes on with are bounded', async () => {
    const given = await selfSigned('given', []);
    const body = { ...management, certificate: given.certificate, private_key: given.privateKey };
    for (let made = 0; made < 10; made++) await ask('create', '', body);
    expect(await refusal('create', '', body)).toContain('10');
    expect(await refusal('csr', '', { ...management, key_length: 2048 })).toContain('10');
  });
});

const rsa = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
const webcrypto = (modulusLength: number) =>
  crypto.subtle.generateKey({ ...rsa, modulusLength, publicExponent: new Uint8Array([1, 0, 1]) }, true, [
    'sign',
    'verify',
  ]);
