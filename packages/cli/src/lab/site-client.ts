import { connect as tlsConnect } from 'node:tls';
import { type Client, connect } from '@antipode/client';
import { limits } from '../limits.ts';
import type { LabSite } from './record.ts';

/** The fingerprint of the certificate that a server on this machine, started a moment ago by this lab, shows. */
export function lookAtFingerprint(url: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ host: hostname, port: Number(port), rejectUnauthorized: false }, () => {
      const certificate = socket.getPeerX509Certificate();
      socket.destroy();
      if (certificate === undefined) reject(new Error(`${url} shows no certificate`));
      else resolve(certificate.fingerprint256);
    });
    socket.setTimeout(limits.control_ms, () => socket.destroy(new Error(`${url} does not answer`)));
    socket.once('error', reject);
  });
}

/** Logs in to a site of a lab, which proves itself by the certificate that the lab has written down. */
export function connectSite(site: LabSite, fingerprint: string | undefined): Promise<Client> {
  return connect({
    url: site.url,
    username: site.username,
    password: site.password,
    tls: fingerprint === undefined ? { mode: 'insecure' } : { mode: 'fingerprint', sha256: fingerprint },
  });
}
