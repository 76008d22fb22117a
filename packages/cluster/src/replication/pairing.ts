import { request as httpsRequest } from 'node:https';
import { CertificateExchange, RemoteSystemCreate, RemoteSystemModify, RestError } from '@antipode/contract';
import { type Static, Type } from 'typebox';
import type { Catalog } from '../catalog/catalog.ts';
import { type Handlers, handler } from '../rest/handlers.ts';
import { fingerprintOf } from '../security/certificates.ts';
import type { Reporter } from '../services/occurrences.ts';
import type { PeerAppliance, PeerIdentity } from './peer-wire.ts';
import type { RemoteRecord, RemoteSystems, TrustRecord, TrustStore } from './remote-systems.ts';
import { PeerUnreachable } from './step-runner.ts';

export interface PairingDeps {
  readonly catalog: Catalog;
  readonly remotes: RemoteSystems;
  readonly trust: TrustStore;
  readonly reporter: Reporter;
  readonly self: () => PeerIdentity;
}

const exchangePath = '/api/antipode/v1/peer/exchange';
const standardPort = 443;
const exchange_ms = 15_000;
const answerMost_bytes = 256 * 1024;

/** Certificates, remote systems: what makes two clusters a pair, from either side. */
export class Pairing {
  readonly #deps: PairingDeps;

  constructor(deps: PairingDeps) {
    this.#deps = deps;
  }

  handlers(): Handlers {
    return {
      'x509_certificate.exchange': handler(CertificateExchange, (_, __, body) => this.#exchange(body)),
      'remote_system.create': handler(RemoteSystemCreate, (_, __, body) => this.#create(body)),
      'remote_system.modify': handler(RemoteSystemModify, async (_, id, body) => this.#modify(id, body)),
      'remote_system.delete': handler(Type.Object({}), (_, id) => this.#delete(id)),
      'remote_system.verify': handler(Type.Object({}), (_, id) => this.#verify(id)),
      'remote_system.query_appliances': handler(Type.Object({}), (_, id) => this.#appliances(id)),
    };
  }

  /** The other end of an exchange: an administrator of this cluster vouches for the one that asks. */
  answerExchange(given: unknown): PeerIdentity {
    const identity = parseIdentity(given);
    if (identity === undefined) throw new RestError('schema_violation', '/', 'not the identity of a cluster');
    this.#keep(identity);
    return this.#deps.self();
  }

  async #exchange(body: Static<typeof CertificateExchange>): Promise<void> {
    if (body.service !== 'Replication_HTTP') throw new RestError('exchange_service', body.service);
    const { host, port } = parseAddress(body.address, body.port);
    const where = `${host}:${port}`;
    const answer = await callRest(host, port, body.username, body.password, this.#deps.self()).catch(
      (error: unknown) => {
        throw new RestError('exchange_failed', where, error instanceof Error ? error.message : String(error));
      },
    );
    const identity = parseIdentity(answer);
    if (identity === undefined)
      throw new RestError('exchange_failed', where, 'it did not answer as a cluster of this kind');
    // Reached there by whoever asked: what it calls itself may be an address of its own side.
    this.#keep({ ...identity, managementAddress: where });
  }

  #keep(identity: PeerIdentity): void {
    if (identity.serial === this.#deps.self().serial)
      throw new RestError('exchange_failed', identity.managementAddress, 'that is this cluster itself');
    this.#deps.remotes.trust(identity, fingerprintOf(identity.certificate));
  }

  async #create(body: Static<typeof RemoteSystemCreate>): Promise<{ id: string }> {
    if (body.type !== undefined && body.type !== 'PowerStore') throw new RestError('remote_kind', body.type);
    const trusted = this.#trustedAt(body.management_address, body.management_port);
    if (trusted === undefined) throw new RestError('remote_not_trusted', body.management_address);
    const known = this.#deps.remotes.bySerial(trusted.serial);
    if (known !== undefined) throw new RestError('remote_exists', known.name);
    const latency = body.data_network_latency ?? 'Low';
    try {
      const answer = await this.#deps.remotes.askTrusted(trusted, {
        kind: 'pair',
        identity: this.#deps.self(),
        latency,
      });
      if (answer.kind !== 'done')
        throw new RestError('peer_refused', answer.kind === 'refused' ? answer.message : 'pairing');
    } catch (error) {
      if (error instanceof PeerUnreachable) throw new RestError('remote_unreachable', trusted.name, error.message);
      throw error;
    }
    const record = this.#deps.remotes.enter(trusted, {
      description: body.description ?? null,
      latency,
      version: '',
      managementAddress: body.management_address,
    });
    await this.#deps.remotes.verify(record.id);
    this.#deps.reporter.tell('paired', about(record));
    return { id: record.id };
  }

  /** The peer pairs with this cluster: the entry in the other direction. */
  paired(trusted: TrustRecord, identity: PeerIdentity, latency: string): void {
    const record = this.#deps.remotes.enter(
      { ...trusted, peer: identity.peer, data: identity.data },
      { description: null, latency, version: identity.version, managementAddress: trusted.managementAddress },
    );
    this.#deps.reporter.tell('paired', about(record));
  }

  /** The peer has removed this cluster. What is still in use stays, and shows as lost. */
  unpaired(serial: string): void {
    const record = this.#deps.remotes.bySerial(serial);
    if (record === undefined || this.#user(record.id) !== undefined) return;
    this.#deps.remotes.forget(record.id);
    this.#deps.reporter.tell('unpaired', about(record));
  }

  #modify(id: string, body: Static<typeof RemoteSystemModify>): void {
    this.#remote(id);
    const { description, data_network_latency, management_address } = body;
    this.#deps.remotes.change(id, {
      ...(description !== undefined && { description }),
      ...(data_network_latency !== undefined && { latency: data_network_latency }),
      ...(management_address !== undefined && { managementAddress: management_address }),
    });
  }

  async #delete(id: string): Promise<void> {
    const record = this.#remote(id);
    const user = this.#user(id);
    if (user !== undefined) throw new RestError('remote_in_use', record.name, user);
    // The other direction goes as well if the peer hears of it; if not, its administrator removes it.
    await this.#deps.remotes.ask(id, { kind: 'unpair' }).catch(() => undefined);
    this.#deps.remotes.forget(id);
    this.#deps.reporter.tell('unpaired', about(record));
  }

  async #verify(id: string): Promise<void> {
    const record = this.#remote(id);
    const state = await this.#deps.remotes.verify(id);
    if (state?.up !== true) throw new RestError('remote_unreachable', record.name, 'it does not answer');
  }

  /** What the peer told of its appliances when it was last heard; asked now if it was not heard yet. */
  async #appliances(id: string): Promise<readonly PeerAppliance[]> {
    this.#remote(id);
    const heard = () => this.#deps.remotes.state(id)?.peer;
    if (heard() === undefined) await this.#verify(id);
    return heard()?.appliances ?? [];
  }

  #user(id: string): string | undefined {
    const rule = this.#deps.catalog
      .list('replication_rule', 'remote_system_id', id)
      .find((candidate) => !candidate.is_replica);
    if (rule !== undefined) return `replication rule ${rule.name}`;
    return this.#deps.catalog.list('replication_session', 'remote_system_id', id).length > 0
      ? 'a replication session'
      : undefined;
  }

  #remote(id: string): RemoteRecord {
    const record = this.#deps.remotes.get(id);
    if (record === undefined) throw new RestError('not_found', 'remote_system', id);
    return record;
  }

  /** The certificate that was exchanged with the cluster at an address; the port may be left out if only one is there. */
  #trustedAt(address: string, port: number | undefined): TrustRecord | undefined {
    const wanted = parseAddress(address, port);
    const candidates = this.#deps.trust
      .list()
      .map((record) => ({ record, at: parseAddress(record.managementAddress, undefined) }));
    const exact = candidates.find(({ at }) => at.host === wanted.host && at.port === wanted.port);
    if (exact !== undefined) return exact.record;
    const named =
      address.includes(':') || port !== undefined ? [] : candidates.filter(({ at }) => at.host === wanted.host);
    return named.length === 1 ? named[0]?.record : undefined;
  }
}

const about = (record: RemoteRecord) => ({ type: 'remote_system', id: record.id, name: record.name });

/** `host`, `host:port` or `[v6]:port`. */
function parseAddress(address: string, port: number | undefined): { readonly host: string; readonly port: number } {
  const bracketed = /^\[([0-9a-fA-F:.]+)\](?::(\d{1,5}))?$/.exec(address);
  const plain = /^([^:/\s]+)(?::(\d{1,5}))?$/.exec(address);
  const match = bracketed ?? plain;
  const given = match?.[2] === undefined ? undefined : Number(match[2]);
  if (match === null && !/^[0-9a-fA-F:.]+$/.test(address))
    throw new RestError(
      'schema_violation',
      '/address',
      'a host name or address, with :port if it is not the standard one',
    );
  if (given !== undefined && (given < 1 || given > 65_535))
    throw new RestError('schema_violation', '/address', 'the port is from 1 to 65535');
  return { host: match?.[1] ?? address, port: given ?? port ?? standardPort };
}

/** One call of the peer's REST interface with the credentials of its administrator. They are not kept, and never logged. */
function callRest(
  host: string,
  port: number,
  username: string,
  password: string,
  body: PeerIdentity,
): Promise<unknown> {
  const text = JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const call = httpsRequest(
      {
        host,
        port,
        path: exchangePath,
        method: 'POST',
        // Trust begins here, by the administrator's word: from then on the certificate is pinned.
        rejectUnauthorized: false,
        agent: false,
        auth: `${username}:${password}`,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
        signal: AbortSignal.timeout(exchange_ms),
      },
      (response) => {
        const parts: Buffer[] = [];
        let length = 0;
        response.on('data', (part: Buffer) => {
          length += part.length;
          if (length > answerMost_bytes) response.destroy(new Error('the answer is too long'));
          else parts.push(part);
        });
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode === 401 || response.statusCode === 403)
            return reject(new Error('user or password is wrong there, or lacks the right'));
          if (response.statusCode !== 200) return reject(new Error(`it answered ${response.statusCode}`));
          try {
            resolve(JSON.parse(Buffer.concat(parts).toString('utf8')));
          } catch {
            reject(new Error('it answered something else'));
          }
        });
      },
    );
    call.on('error', reject);
    call.end(text);
  });
}

const address = (value: unknown): value is { host: string; port: number } =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as { host?: unknown }).host === 'string' &&
  Number.isInteger((value as { port?: unknown }).port);

function parseIdentity(value: unknown): PeerIdentity | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { serial, name, version, certificate, managementAddress, peer, data } = value as Partial<
    Record<keyof PeerIdentity, unknown>
  >;
  const texts = [serial, name, version, certificate, managementAddress].every(
    (text) => typeof text === 'string' && text.length > 0 && text.length < 16_384,
  );
  if (!texts || !address(peer) || !address(data) || !/^PS[0-9a-f]{12}$/.test(String(serial))) return undefined;
  try {
    fingerprintOf(String(certificate));
  } catch {
    return undefined;
  }
  return {
    serial: String(serial),
    name: String(name),
    version: String(version),
    certificate: String(certificate),
    managementAddress: String(managementAddress),
    peer: { host: peer.host, port: peer.port },
    data: { host: data.host, port: data.port },
  };
}
