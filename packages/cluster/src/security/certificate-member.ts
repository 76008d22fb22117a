import { X509Certificate } from 'node:crypto';
import type { CertificateMemberDocument } from '../catalog/documents.ts';

const algorithms: Readonly<Record<string, string>> = { rsa: 'RSA', ec: 'ECDSA', ed25519: 'Ed25519', ed448: 'Ed448' };
const curveBits: Readonly<Record<string, number>> = { prime256v1: 256, secp384r1: 384, secp521r1: 521 };

/** One certificate of a chain, as x509_certificate shows it. @throws when it is none */
export function certificateMember(pem: string, depth = 1): CertificateMemberDocument {
  const certificate = new X509Certificate(pem);
  const { asymmetricKeyType = '', asymmetricKeyDetails } = certificate.publicKey;
  return {
    subject: oneLine(certificate.subject),
    issuer: oneLine(certificate.issuer),
    serial_number: certificate.serialNumber,
    signature_algorithm: certificate.signatureAlgorithm ?? null,
    public_key_algorithm: algorithms[asymmetricKeyType] ?? asymmetricKeyType,
    key_length: asymmetricKeyDetails?.modulusLength ?? curveBits[asymmetricKeyDetails?.namedCurve ?? ''] ?? null,
    subject_alternative_names: certificate.subjectAltName?.split(', ').map((name) => name.replace(/^[^:]*:/, '')) ?? [],
    thumbprint_algorithm: 'SHA-256',
    thumbprint_algorithm_l10n: 'SHA-256',
    thumbprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    valid_from: new Date(certificate.validFrom).toISOString(),
    valid_to: new Date(certificate.validTo).toISOString(),
    depth,
    certificate: certificate.toString(),
  };
}

/** Whether a certificate is valid at a time, ms since 1970, as far as its own dates say. */
export const isValidAt = ({ valid_from, valid_to }: CertificateMemberDocument, now_ms: number): boolean =>
  Date.parse(valid_from) <= now_ms && now_ms <= Date.parse(valid_to);

const oneLine = (name: string): string => name.split('\n').join(', ');
