import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

/** A certificate and its private key, PEM. */
export interface Keyed {
  readonly cert: string;
  readonly key: string;
}

/** Somebody who vouches for names. Made anew in every run: no key of a test is worth stealing. */
export interface Authority extends Keyed {
  /** A certificate for `commonName`, valid at 127.0.0.1, with further names as URIs. */
  sign(commonName: string, uris?: readonly string[]): Keyed;
}

export function makeAuthority(commonName: string): Authority {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const own = certificate({ issuer: commonName, subject: commonName, publicKey, signer: privateKey, authority: true });
  return {
    cert: own,
    key: pem(privateKey),
    sign(subject, uris = []) {
      const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const cert = certificate({
        issuer: commonName,
        subject,
        publicKey: keys.publicKey,
        signer: privateKey,
        authority: false,
        uris,
      });
      return { cert, key: pem(keys.privateKey) };
    },
  };
}

const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

/** An X.509 version 3 certificate (RFC 5280, section 4.1) with the few fields that TLS looks at. */
function certificate(of: {
  issuer: string;
  subject: string;
  publicKey: KeyObject;
  signer: KeyObject;
  authority: boolean;
  uris?: readonly string[];
}): string {
  const uris = (of.uris ?? []).map((uri) => der(0x86, Buffer.from(uri)));
  const extension = of.authority
    ? sequence(oid('551d13'), der(0x01, [0xff]), der(0x04, sequence(der(0x01, [0xff]))))
    : sequence(oid('551d11'), der(0x04, sequence(der(0x87, [127, 0, 0, 1]), ...uris)));
  const signed = sequence(
    der(0xa0, der(0x02, [2])),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ECDSA_WITH_SHA256,
    name(of.issuer),
    sequence(der(0x17, Buffer.from('200101000000Z')), der(0x17, Buffer.from('491231235959Z'))),
    name(of.subject),
    of.publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(extension)),
  );
  const signature = sign('sha256', signed, of.signer);
  const whole = sequence(signed, ECDSA_WITH_SHA256, der(0x03, Buffer.concat([Buffer.from([0]), signature])));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

/** One value of the distinguished encoding: tag, length, content. */
function der(tag: number, content: Uint8Array | readonly number[]): Buffer {
  const bytes = Buffer.from(content);
  if (bytes.length < 0x80) return Buffer.concat([Buffer.from([tag, bytes.length]), bytes]);
  const long = Buffer.alloc(2);
  long.writeUInt16BE(bytes.length);
  return Buffer.concat([Buffer.from([tag, 0x82]), long, bytes]);
}

const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, Buffer.concat(parts));
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
const name = (commonName: string): Buffer =>
  sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(commonName)))));
const ECDSA_WITH_SHA256 = sequence(oid('2a8648ce3d040302'));
