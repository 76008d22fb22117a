import { NBD_MAX_PAYLOAD_BYTES, NBD_MAX_STRING_BYTES, NBD_PREFERRED_BLOCK_BYTES } from '../limits.ts';
import {
  BASE_ALLOCATION_ID,
  GREETING_BYTES,
  HandshakeFlag,
  IHAVEOPT,
  Info,
  NBDMAGIC,
  OPTION_REPLY_HEADER_BYTES,
  OPTION_REPLY_MAGIC,
  Rep,
  type RepError,
} from './protocol.ts';

/** What the server says first. */
export function greeting(): Buffer {
  const bytes = Buffer.alloc(GREETING_BYTES);
  bytes.writeBigUInt64BE(NBDMAGIC, 0);
  bytes.writeBigUInt64BE(IHAVEOPT, 8);
  bytes.writeUInt16BE(HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES, 16);
  return bytes;
}

export function optionReply(option: number, type: number, data: Uint8Array = new Uint8Array(0)): Buffer {
  const bytes = Buffer.alloc(OPTION_REPLY_HEADER_BYTES + data.length);
  bytes.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0);
  bytes.writeUInt32BE(option, 8);
  bytes.writeUInt32BE(type, 12);
  bytes.writeUInt32BE(data.length, 16);
  bytes.set(data, OPTION_REPLY_HEADER_BYTES);
  return bytes;
}

export const optionError = (option: number, error: RepError, text: string): Buffer =>
  optionReply(option, error, Buffer.from(text, 'utf8'));

/** One export in the answer to LIST: its name, and a description that follows it. */
export function serverReply(option: number, name: string, description = ''): Buffer {
  const text = Buffer.from(name, 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length, 0);
  return optionReply(option, Rep.SERVER, joined(length, text, Buffer.from(description, 'utf8')));
}

export function infoExportReply(option: number, size: number, flags: number): Buffer {
  const data = Buffer.alloc(12);
  data.writeUInt16BE(Info.EXPORT, 0);
  data.writeBigUInt64BE(BigInt(size), 2);
  data.writeUInt16BE(flags, 10);
  return optionReply(option, Rep.INFO, data);
}

/** The engine takes any alignment, so the minimum is 1. */
export function infoBlockSizeReply(option: number): Buffer {
  const data = Buffer.alloc(14);
  data.writeUInt16BE(Info.BLOCK_SIZE, 0);
  data.writeUInt32BE(1, 2);
  data.writeUInt32BE(NBD_PREFERRED_BLOCK_BYTES, 6);
  data.writeUInt32BE(NBD_MAX_PAYLOAD_BYTES, 10);
  return optionReply(option, Rep.INFO, data);
}

export function infoTextReply(option: number, type: typeof Info.NAME | typeof Info.DESCRIPTION, text: string): Buffer {
  const kind = Buffer.alloc(2);
  kind.writeUInt16BE(type, 0);
  return optionReply(option, Rep.INFO, joined(kind, Buffer.from(text, 'utf8')));
}

/** In the answer to LIST_META_CONTEXT the id is reserved and zero. */
export function metaContextReply(option: number, name: string, listed: boolean): Buffer {
  const id = Buffer.alloc(4);
  id.writeUInt32BE(listed ? 0 : BASE_ALLOCATION_ID, 0);
  return optionReply(option, Rep.META_CONTEXT, joined(id, Buffer.from(name, 'utf8')));
}

/** The answer to EXPORT_NAME: no reply header, and 124 zeros for clients that did not decline them. */
export function exportNameReply(size: number, flags: number, noZeroes: boolean): Buffer {
  const bytes = Buffer.alloc(noZeroes ? 10 : 134);
  bytes.writeBigUInt64BE(BigInt(size), 0);
  bytes.writeUInt16BE(flags, 8);
  return bytes;
}

const joined = (...parts: Uint8Array[]): Buffer => Buffer.concat(parts);

/** Reads fields one after the other; a field that is not there makes the whole option invalid. */
class Fields {
  readonly #data: Buffer;
  #at = 0;
  bad = false;

  constructor(data: Buffer) {
    this.#data = data;
  }

  number(bytes: 2 | 4): number {
    if (this.#data.length - this.#at < bytes) {
      this.bad = true;
      return 0;
    }
    const value = this.#data.readUIntBE(this.#at, bytes);
    this.#at += bytes;
    return value;
  }

  text(length: number): string {
    if (length > NBD_MAX_STRING_BYTES || this.#data.length - this.#at < length) {
      this.bad = true;
      return '';
    }
    const raw = this.#data.subarray(this.#at, this.#at + length);
    this.#at += length;
    return decodeName(raw) ?? this.#fail();
  }

  /** Everything was well formed and nothing is left over. */
  whole(): boolean {
    return !this.bad && this.#at === this.#data.length;
  }

  #fail(): string {
    this.bad = true;
    return '';
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A string of the protocol: UTF-8 of bounded length without NUL; nothing when it is not. */
export function decodeName(raw: Uint8Array): string | undefined {
  if (raw.length > NBD_MAX_STRING_BYTES || raw.includes(0)) return undefined;
  try {
    return utf8.decode(raw);
  } catch {
    return undefined;
  }
}

/** Data of GO and INFO; nothing when malformed. */
export function readInfoRequest(data: Buffer): { name: string; wants: ReadonlySet<number> } | undefined {
  const fields = new Fields(data);
  const name = fields.text(fields.number(4));
  const count = fields.number(2);
  const wants = new Set<number>();
  for (let index = 0; index < count && !fields.bad; index += 1) wants.add(fields.number(2));
  return fields.whole() ? { name, wants } : undefined;
}

/** Data of LIST_META_CONTEXT and SET_META_CONTEXT; nothing when malformed. */
export function readMetaContextRequest(data: Buffer): { name: string; queries: readonly string[] } | undefined {
  const fields = new Fields(data);
  const name = fields.text(fields.number(4));
  const count = fields.number(4);
  const queries: string[] = [];
  for (let index = 0; index < count && !fields.bad; index += 1) queries.push(fields.text(fields.number(4)));
  return fields.whole() ? { name, queries } : undefined;
}
