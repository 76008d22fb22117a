import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { oldestPeerProtocolVersion, peerProtocolVersion, plainFingerprint } from '@antipode/replication';
import type { HostPort } from '../config.ts';
import { driverLimits } from './limits.ts';
import type { TrustedPeer } from './peer-network.ts';
import { checkPeerRequest, readEnvelope } from './peer-schema.ts';
import type { PeerAnswer, PeerRequest } from './peer-wire.ts';

export interface PeerServer {
  readonly address: HostPort;
  /** Takes the new list of trusted certificates for connections to come. */
  trustChanged(): void;
  close(): Promise<void>;
}

export interface PeerServerOptions {
  readonly listen: HostPort;
  readonly identity: { readonly certificate: string; readonly privateKey: string };
  readonly trusted: () => readonly TrustedPeer[];
  /** The request is of a known shape and the sender is who its certificate says. */
  readonly answer: (from: TrustedPeer, request: PeerRequest) => Promise<PeerAnswer>;
  readonly onError: (error: unknown) => void;
}

/** The management channel's listening end: HTTPS with client certificates, exchanged at pairing, and nothing else. */
export async function startPeerServer(options: PeerServerOptions): Promise<PeerServer> {
  const context = () => ({
    cert: options.identity.certificate,
    key: options.identity.privateKey,
    // An empty list would mean the public authorities: this cluster's own certificate keeps it closed until pairing.
    ca: [options.identity.certificate, ...options.trusted().map((peer) => peer.certificate)],
    minVersion: 'TLSv1.3' as const,
  });
  const server = createServer({
    ...context(),
    requestCert: true,
    rejectUnauthorized: true,
    // Who opens a connection and says nothing holds a place for this long, and no longer.
    handshakeTimeout: 10_000,
    requestTimeout: 30_000,
    headersTimeout: 10_000,
  });
  server.maxHeadersCount = 50;
  server.on('request', (request, response) => void serve(request, response, options));
  server.on('tlsClientError', () => {
    // A stranger, or a peer that was unpaired: refused in the handshake, nothing to say.
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.listen.port, options.listen.host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  server.on('error', options.onError);
  const { port } = server.address() as AddressInfo;
  return {
    address: { host: options.listen.host, port },
    trustChanged: () => server.setSecureContext(context()),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function serve(request: IncomingMessage, response: ServerResponse, options: PeerServerOptions): Promise<void> {
  try {
    const fingerprint = plainFingerprint((request.socket as TLSSocket).getPeerCertificate().fingerprint256 ?? '');
    if (trustedPeer(fingerprint, options) === undefined)
      return send(response, 403, { error: 'this certificate is not known here' });
    if (request.method !== 'POST' || request.url !== '/peer') return send(response, 404, { error: 'no such address' });
    const body = await readBody(request);
    if (body === undefined) return send(response, 413, { error: 'the message is too long' });
    const { status, answer } = await answerPeer(fingerprint, body, options);
    send(response, status, answer);
  } catch (error) {
    options.onError(error);
    if (!response.headersSent) send(response, 500, { error: 'internal' });
  }
}

type Answering = Pick<PeerServerOptions, 'trusted' | 'answer'>;

const trustedPeer = (fingerprint: string, { trusted }: Answering): TrustedPeer | undefined =>
  trusted().find((peer) => plainFingerprint(peer.fingerprint) === fingerprint);

/** Answers one message, as text, of whoever shows a certificate with this fingerprint (plain). Rejects when the cluster itself fails. */
export async function answerPeer(
  fingerprint: string,
  body: string,
  options: Answering,
): Promise<{ readonly status: number; readonly answer: object }> {
  const from = trustedPeer(fingerprint, options);
  if (from === undefined) return { status: 403, answer: { error: 'this certificate is not known here' } };
  const envelope = readEnvelope(body);
  if (envelope === undefined) return { status: 400, answer: { error: 'not a message of this protocol' } };
  if (envelope.version < oldestPeerProtocolVersion || envelope.version > peerProtocolVersion) {
    const versions = { oldest: oldestPeerProtocolVersion, newest: peerProtocolVersion };
    return { status: 426, answer: { error: 'protocol version', ...versions } };
  }
  const wanted = checkPeerRequest(envelope.request);
  if (wanted === undefined) return { status: 400, answer: { error: 'not a request of this protocol' } };
  return { status: 200, answer: await options.answer(from, wanted) };
}

function send(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > driverLimits.peerMessage_bytes) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}
