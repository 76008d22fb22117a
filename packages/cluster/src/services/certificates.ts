import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { createSecureContext } from 'node:tls';
import type { Clock, Random } from '@antipode/base';
import {
  CertificateCreate,
  CertificateModify,
  CertificateRequest,
  CertificateReset,
  display,
  RestError,
} from '@antipode/contract';
import type { Static } from 'typebox';
import type { Catalog } from '../catalog/catalog.ts';
import type { CertificateDocument } from '../catalog/documents.ts';
import { isTaken } from '../catalog/medium-errors.ts';
import { type Handlers, handler } from '../rest/handlers.ts';
import { certificateMember, isValidAt } from '../security/certificate-member.ts';
import { type KeyPair, requestCertificate, selfSigned } from '../security/certificates.ts';
import { certificatesIn, type KeyStore } from '../security/key-store.ts';
import type { Reporter } from './occurrences.ts';

const service = 'Management_HTTP';
/** Certificates and requests that are not in use; there is no way to remove one of them. */
const waitingMost = 10;
/** So long before a certificate expires operators are told of it. */
const toldBefore_ms = 30 * 86_400_000;

export interface CertificateDeps {
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly random: Random;
  readonly reporter: Pick<Reporter, 'tell' | 'clear' | 'isRaised'>;
  readonly keys: KeyStore;
  /** What is served at this moment, and how something else comes to be: connections that begin from then on meet it. */
  readonly served: KeyPair;
  readonly serve: (pair: KeyPair) => void;
  /** The certificate was given in files, at the start: it is changed there. */
  readonly inFiles: boolean;
  readonly subject: () => { readonly name: string; readonly hosts: readonly string[] };
  /** Of the replication link: shown, and as old as the cluster. */
  readonly link: { readonly serial: string; readonly certificate: string };
}

/** The certificate of the REST interface: requested, given, put to use, and made anew. Keys stay in their files, see {@link KeyStore}. */
export class CertificateService {
  readonly #deps: CertificateDeps;

  constructor(deps: CertificateDeps) {
    this.#deps = deps;
  }

  handlers(): Handlers {
    return {
      'x509_certificate.create': handler(CertificateCreate, async (_, __, body) => this.#create(body)),
      'x509_certificate.modify': handler(CertificateModify, async (_, id, body) => this.#modify(id, body)),
      'x509_certificate.csr': handler(CertificateRequest, (_, __, body) => this.#request(body)),
      'x509_certificate.reset_certificates': handler(CertificateReset, (_, __, body) => this.#reset(body)),
    };
  }

  /** At start the files say what there is. */
  enter(): void {
    const { catalog, keys, served, link, random } = this.#deps;
    catalog.transaction(() => {
      for (const row of catalog.list('x509_certificate')) {
        if (row.service === service && !row.is_current && keys.waiting(row.id) === undefined)
          catalog.remove('x509_certificate', row.id);
      }
      this.#put(this.#current()?.id ?? random.uuid(), served.certificate, { is_current: true });
      catalog.put(
        'x509_certificate',
        this.#row(`link-${link.serial}`, link.certificate, {
          service: 'Replication_HTTP',
          scope: link.serial,
          is_current: true,
        }),
      );
    });
    for (const id of keys.ids()) if (catalog.get('x509_certificate', id) === undefined) keys.forget(id);
    this.refresh();
  }

  /** Certificates become invalid by themselves; that the one in use soon will be is told. */
  refresh(): void {
    const { catalog, clock } = this.#deps;
    for (const row of catalog.list('x509_certificate')) {
      const members = row.members.map(({ certificate, depth }) => certificateMember(certificate, depth));
      const is_valid = members.length > 0 && members.every((member) => isValidAt(member, clock.now()));
      const shown = { ...row, members, is_valid };
      if (JSON.stringify(shown) !== JSON.stringify(row)) isTaken(() => catalog.put('x509_certificate', shown));
    }
    this.#lookAhead();
  }

  #create(body: Static<typeof CertificateCreate>): { id: string } {
    const { type, certificate, private_key, passphrase, is_current = false } = body;
    this.#own(body);
    if (private_key === undefined)
      throw new RestError('certificate_refused', `a ${type} certificate comes with its private_key`);
    const pair = checked(certificate, keyOf(private_key, passphrase), this.#deps.clock.now());
    const id = this.#deps.random.uuid();
    if (!is_current) this.#room();
    this.#deps.keys.keep(id, pair);
    this.#put(id, pair.certificate, { is_current: false });
    if (is_current) this.#use(id, pair);
    return { id };
  }

  #modify(id: string, { is_current, certificate }: Static<typeof CertificateModify>): void {
    const row = this.#deps.catalog.get('x509_certificate', id);
    if (row === undefined) throw new RestError('certificate_not_found', id);
    this.#own(row);
    const waiting = row.is_current ? undefined : this.#deps.keys.waiting(id);
    if (row.is_current) {
      if (is_current && certificate === undefined) return;
      throw new RestError('certificate_refused', 'it is in use; another one takes its place with is_current true');
    }
    if (waiting === undefined) throw new RestError('certificate_refused', 'its key is not here any more');
    const chain = certificate ?? waiting.certificate;
    if (chain === '')
      throw new RestError('certificate_refused', 'it was requested; give what the authority has signed');
    const pair = checked(chain, waiting.privateKey, this.#deps.clock.now());
    this.#deps.keys.keep(id, pair);
    this.#put(id, pair.certificate, { is_current: false });
    if (is_current) this.#use(id, pair);
  }

  async #request(body: Static<typeof CertificateRequest>): Promise<object> {
    const { catalog, random, keys, subject } = this.#deps;
    this.#own(body);
    this.#room();
    const unset = body.dns_name === undefined && body.ip_addresses === undefined;
    const addresses = body.ip_addresses ?? [];
    const wrong = addresses.find((address) => isIP(address) === 0);
    if (wrong !== undefined) throw new RestError('schema_violation', '/ip_addresses', `${wrong} is no IP address`);
    const { name, hosts } = subject();
    const { request, privateKey } = await requestCertificate(
      {
        names: {
          CN: body.common_name || name,
          O: body.organization || undefined,
          OU: body.organizational_unit || undefined,
          L: body.locality || undefined,
          ST: body.state || undefined,
          C: body.country?.toUpperCase(),
        },
        hosts: unset ? hosts : [...(body.dns_name ?? []), ...addresses],
      },
      body.key_length,
    );
    const id = random.uuid();
    keys.keep(id, { privateKey, certificate: '' });
    this.#put(id, '', { is_current: false });
    const row = catalog.get('x509_certificate', id);
    return { ...row, type_l10n: display('Server'), service_l10n: display(service), certificate_request: request };
  }

  async #reset(body: Static<typeof CertificateReset>): Promise<void> {
    this.#own({ type: 'Server', ...body });
    const { random, keys, subject, catalog } = this.#deps;
    const { name, hosts } = subject();
    const pair = await selfSigned(name, hosts);
    const id = random.uuid();
    this.#use(id, pair);
    for (const row of catalog.list('x509_certificate'))
      if (row.service === service && !row.is_current) {
        catalog.remove('x509_certificate', row.id);
        keys.forget(row.id);
      }
  }

  /** The file first: it says what is served, now and after a restart; the catalog follows. */
  #use(id: string, pair: KeyPair): void {
    const { catalog, keys, serve } = this.#deps;
    const before = this.#current();
    keys.serve(pair);
    serve(pair);
    catalog.transaction(() => {
      if (before !== undefined) catalog.remove('x509_certificate', before.id);
      this.#put(id, pair.certificate, { is_current: true });
    });
    keys.forget(id);
    this.#lookAhead();
  }

  /** The certificates in use, told of ahead of their end. */
  #lookAhead(): void {
    this.#expires('certificate_expires', this.#current()?.members ?? []);
    this.#expires('link_certificate_expires', [certificateMember(this.#deps.link.certificate)]);
  }

  #expires(what: 'certificate_expires' | 'link_certificate_expires', chain: CertificateDocument['members']): void {
    const { clock, reporter, subject } = this.#deps;
    const about = { type: 'cluster', id: '0', name: subject().name };
    // A chain is as good as the first of it to end.
    const [end] = chain.map(({ valid_to }) => valid_to).sort();
    if (end === undefined || Date.parse(end) - clock.now() > toldBefore_ms) reporter.clear(what, about);
    else if (!reporter.isRaised(what, about)) reporter.tell(what, about, end);
  }

  /** What is not managed here is refused before anything is looked at. */
  #own(what: Pick<CertificateDocument, 'type' | 'service'> & { readonly scope?: string | undefined }): void {
    if (what.service !== service || what.type !== 'Server')
      throw new RestError('certificate_service', what.type, what.service);
    if ((what.scope ?? '') !== '') throw new RestError('schema_violation', '/scope', `${service} has no scope`);
    if (this.#deps.inFiles) throw new RestError('fixed_here', service, 'given in files at the start');
  }

  #room(): void {
    const waiting = this.#deps.catalog
      .list('x509_certificate', 'service', service)
      .filter(({ is_current }) => !is_current);
    if (waiting.length >= waitingMost) throw new RestError('too_many_certificates', String(waiting.length), service);
  }

  #current(): CertificateDocument | undefined {
    return this.#deps.catalog.list('x509_certificate', 'service', service).find(({ is_current }) => is_current);
  }

  #put(id: string, chain: string, more: Pick<CertificateDocument, 'is_current'>): void {
    this.#deps.catalog.put('x509_certificate', this.#row(id, chain, { service, scope: '', ...more }));
  }

  #row(
    id: string,
    chain: string,
    more: Pick<CertificateDocument, 'service' | 'scope' | 'is_current'>,
  ): CertificateDocument {
    const members = certificatesIn(chain).map((pem, index) => certificateMember(pem, index + 1));
    const is_valid = members.length > 0 && members.every((member) => isValidAt(member, this.#deps.clock.now()));
    return { id, type: 'Server', ...more, is_valid, members };
  }
}

/** A private key in PEM, without its passphrase. Nothing of it is in the refusal. */
function keyOf(given: string, passphrase: string | undefined): string {
  try {
    const key = createPrivateKey({ key: given, ...(passphrase !== undefined && { passphrase }) });
    return key.export({ type: 'pkcs8', format: 'pem' }).toString();
  } catch {
    throw new RestError('certificate_refused', 'the private_key cannot be read with the passphrase that was given');
  }
}

/** A chain that a server can show, with its key. */
function checked(chain: string, privateKey: string, now_ms: number): KeyPair {
  const refuse = (why: string) => new RestError('certificate_refused', why);
  let certificates: readonly X509Certificate[];
  try {
    certificates = certificatesIn(chain).map((pem) => new X509Certificate(pem));
  } catch {
    throw refuse('it cannot be read');
  }
  const [own, ...issuers] = certificates;
  if (own === undefined) throw refuse('there is none in PEM');
  if (!own.checkPrivateKey(createPrivateKey(privateKey))) throw refuse('the key is not the one that it is for');
  for (const [index, issuer] of issuers.entries())
    if (!certificates[index]!.checkIssued(issuer))
      throw refuse(`certificate ${index + 2} did not issue the one before it`);
  const late = certificates.findIndex((one) => !isValidAt(certificateMember(one.toString()), now_ms));
  if (late >= 0) throw refuse(`certificate ${late + 1} is not valid now`);
  const pair = { privateKey, certificate: certificates.map((one) => one.toString()).join('') };
  try {
    createSecureContext({ cert: pair.certificate, key: pair.privateKey });
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error));
  }
  return pair;
}
