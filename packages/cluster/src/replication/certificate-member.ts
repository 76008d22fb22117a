import { X509Certificate } from 'node:crypto';

/** One certificate of a chain, as x509_certificate shows it. */
export function certificateMember(pem: string) {
  const certificate = new X509Certificate(pem);
  return {
    subject: certificate.subject,
    issuer: certificate.issuer,
    serial_number: certificate.serialNumber,
    thumbprint_algorithm: 'SHA-256',
    thumbprint_value: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    valid_from: new Date(certificate.validFrom).toISOString(),
    valid_to: new Date(certificate.validTo).toISOString(),
    depth: 1,
    certificate: pem,
  };
}
