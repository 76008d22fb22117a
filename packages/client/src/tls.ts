import type { X509Certificate } from 'node:crypto';
import { Agent, buildConnector } from 'undici';
import { limits } from './limits.ts';

/** How the cluster proves that it is the one meant. */
export type TlsTrust =
  /** By an authority the machine knows. */
  | { readonly mode: 'system' }
  /** By this authority, or this very certificate, in PEM. */
  | { readonly mode: 'ca'; readonly ca: string }
  /** By its certificate's SHA-256 fingerprint (hexadecimal, colons or not), whoever signed it. */
  | { readonly mode: 'fingerprint'; readonly sha256: string }
  /** Not at all: only for a first look at a cluster on this machine. */
  | { readonly mode: 'insecure' };

const bare = (fingerprint: string): string => fingerprint.replaceAll(':', '').toLowerCase();

/** A pool of HTTPS connections that trusts only what it was told to. */
export function makeAgent(trust: TlsTrust): Agent {
  const timeouts = {
    headersTimeout: limits.answer_ms,
    bodyTimeout: limits.answer_ms,
    maxResponseSize: limits.answerMost_bytes,
    connections: 16,
  };
  switch (trust.mode) {
    case 'system':
      return new Agent({ ...timeouts, connect: { timeout: limits.connect_ms } });
    case 'ca':
      return new Agent({ ...timeouts, connect: { timeout: limits.connect_ms, ca: trust.ca } });
    case 'insecure':
      return new Agent({ ...timeouts, connect: { timeout: limits.connect_ms, rejectUnauthorized: false } });
    case 'fingerprint': {
      const expected = bare(trust.sha256);
      const connect = buildConnector({
        timeout: limits.connect_ms,
        rejectUnauthorized: false,
        // A resumed session carries no certificate to compare.
        maxCachedSessions: 0,
      });
      return new Agent({
        ...timeouts,
        connect: (options, callback) =>
          connect(options, (error, socket) => {
            if (error !== null) return callback(error, null);
            const seen = fingerprintOf(socket);
            if (seen === expected) return callback(null, socket);
            socket?.destroy();
            callback(new Error(`the certificate's fingerprint is ${seen ?? 'missing'}, not ${expected}`), null);
          }),
      });
    }
  }
}

function fingerprintOf(socket: unknown): string | undefined {
  const getter = (socket as { getPeerX509Certificate?: () => X509Certificate | undefined }).getPeerX509Certificate;
  const certificate = getter?.call(socket);
  return certificate === undefined ? undefined : bare(certificate.fingerprint256);
}
