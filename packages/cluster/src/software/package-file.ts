import { type KeyObject, sign, verify } from 'node:crypto';
import { PackageRefused, packageLimits } from './manifest.ts';

/**
 * The beginning of a package (docs/formats/software-package.md): magic, lengths, manifest, signature. What follows is one zstd stream
 * of the files' bytes in the manifest's order.
 */
export const packageMagic = 'ANTIPKG1';
export const prefix_bytes = 16;
export const signature_bytes = 64;

/** What is signed: everything before the signature, so that nothing of it can be exchanged alone. */
export function encodeHead(manifest: string, key: KeyObject): Buffer {
  const text = Buffer.from(manifest, 'utf8');
  const prefix = Buffer.alloc(prefix_bytes);
  prefix.write(packageMagic, 0, 'latin1');
  prefix.writeUInt32LE(text.length, 8);
  prefix.writeUInt32LE(signature_bytes, 12);
  const signed = Buffer.concat([prefix, text]);
  return Buffer.concat([signed, sign(null, signed, key)]);
}

/** Length of the manifest that a prefix announces. @throws PackageRefused */
export function manifestLength(prefix: Buffer): number {
  if (prefix.toString('latin1', 0, 8) !== packageMagic) throw new PackageRefused('it is no software package');
  const length = prefix.readUInt32LE(8);
  if (length === 0 || length > packageLimits.manifest_bytes || prefix.readUInt32LE(12) !== signature_bytes)
    throw new PackageRefused('its description has an impossible length');
  return length;
}

/** The manifest's text, if one of the keys has signed it. @throws PackageRefused */
export function verifiedManifest(head: Buffer, keys: readonly KeyObject[]): string {
  const signed = head.subarray(0, head.length - signature_bytes);
  const signature = head.subarray(head.length - signature_bytes);
  if (!keys.some((key) => verify(null, signed, key, signature)))
    throw new PackageRefused('its signature is not of a key that this cluster trusts');
  return signed.toString('utf8', prefix_bytes);
}
