import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { syncDirectory, writeDurably } from '../supervisor/write-durably.ts';
import type { KeyPair } from './certificates.ts';

const keyBlock = /-----BEGIN ((?:RSA |EC |ENCRYPTED )?PRIVATE KEY)-----[\s\S]+?-----END \1-----/;
const certificateBlocks = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/** The certificates in a text, in their order, PEM each. */
export const certificatesIn = (text: string): readonly string[] => text.match(certificateBlocks) ?? [];

/**
 * Keys of the REST interface, in files that their owner alone can read: `rest.pem` for what is served, `x509-ID.pem` for what waits to
 * be. A key and its chain are one file, replaced as a whole: the two always belong together. Keys are in no other place.
 */
export class KeyStore {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** What is served, once something was given; before that it is the pair that was made at the first start. */
  served(): KeyPair | undefined {
    return this.#read('rest.pem');
  }

  serve(pair: KeyPair): void {
    this.#write('rest.pem', pair);
  }

  waiting(id: string): KeyPair | undefined {
    return this.#read(nameOf(id));
  }

  /** `certificate`: empty while it is only requested. */
  keep(id: string, pair: KeyPair): void {
    this.#write(nameOf(id), pair);
  }

  forget(id: string): void {
    rmSync(join(this.#directory, nameOf(id)), { force: true });
    syncDirectory(this.#directory);
  }

  ids(): readonly string[] {
    return readdirSync(this.#directory).flatMap((name) => /^x509-([0-9a-f-]{36})\.pem$/.exec(name)?.[1] ?? []);
  }

  #write(name: string, { privateKey, certificate }: KeyPair): void {
    writeDurably(join(this.#directory, name), `${privateKey.trim()}\n${certificate}`);
  }

  #read(name: string): KeyPair | undefined {
    const path = join(this.#directory, name);
    if (!existsSync(path)) return undefined;
    const text = readFileSync(path, 'utf8');
    const privateKey = keyBlock.exec(text)?.[0];
    return privateKey === undefined ? undefined : { privateKey, certificate: certificatesIn(text).join('\n') };
  }
}

const nameOf = (id: string): string => `x509-${id}.pem`;
