import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

const cipher = 'aes-256-gcm';
const tagBytes = 16;
/** So large that what a cipher costs to make does not count. */
const piece = Buffer.alloc(1024 * 1024, 7);

/** Encrypts bytes with the cipher that TLS 1.3 takes, and nothing else. */
export function encryptAlone(bytes: number): void {
  const [key, iv] = [randomBytes(32), randomBytes(12)];
  for (let done = 0; done < bytes; done += piece.length) {
    const one = createCipheriv(cipher, key, iv, { authTagLength: tagBytes });
    one.update(piece);
    one.final();
  }
}

/** Decrypts and verifies bytes, and nothing else. */
export function decryptAlone(bytes: number): void {
  const [key, iv] = [randomBytes(32), randomBytes(12)];
  const sealing = createCipheriv(cipher, key, iv, { authTagLength: tagBytes });
  const sealed = Buffer.concat([sealing.update(piece), sealing.final()]);
  const tag = sealing.getAuthTag();
  for (let done = 0; done < bytes; done += piece.length) {
    const one = createDecipheriv(cipher, key, iv, { authTagLength: tagBytes }).setAuthTag(tag);
    one.update(sealed);
    one.final();
  }
}
