import { connect, type Socket } from 'node:net';
import { Inlet } from '../inlet.ts';
import { CHUNK_HEADER_BYTES, IHAVEOPT, OPTION_REPLY_HEADER_BYTES, Option, REQUEST_MAGIC } from '../protocol.ts';

/** A socket that says exactly what a test wants said, well formed or not, and reads exact lengths. */
export class RawClient {
  readonly socket: Socket;
  /** Resolves when the server has ended the connection, however it did. */
  readonly ended: Promise<void>;
  readonly #inlet = new Inlet();
  #over = false;
  #wake: (() => void) | undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#inlet.push(chunk);
      this.#wake?.();
    });
    socket.on('error', () => {});
    this.ended = new Promise((resolve) => {
      socket.on('close', () => {
        this.#over = true;
        this.#wake?.();
        resolve();
      });
    });
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new RawClient(socket);
  }

  /** Connected, greeted, flags answered: ready for options. */
  static async greeted(port: number, flags = 3): Promise<RawClient> {
    const client = await RawClient.connect(port);
    await client.exactly(18);
    client.send(u32(flags));
    return client;
  }

  /** In transmission on `vol`. */
  static async transmitting(port: number, structured = true): Promise<RawClient> {
    const client = await RawClient.greeted(port);
    if (structured) {
      client.option(Option.STRUCTURED_REPLY);
      await client.reply();
    }
    client.option(Option.GO, infoRequest('vol', []));
    while ((await client.reply()).type !== 1);
    return client;
  }

  send(...parts: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  async exactly(length: number): Promise<Buffer> {
    while (!this.#inlet.ensure(length)) {
      if (this.#over) throw new Error(`the server ended the connection before ${length} bytes came`);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const bytes = Buffer.from(this.#inlet.buffer.subarray(this.#inlet.position, this.#inlet.position + length));
    if (length > 0) this.#inlet.advance(length);
    return bytes;
  }

  option(option: number, data: Uint8Array = new Uint8Array(0), claimedLength = data.length): void {
    this.send(u64(IHAVEOPT), u32(option), u32(claimedLength), data);
  }

  async reply(): Promise<{ option: number; type: number; data: Buffer }> {
    const header = await this.exactly(OPTION_REPLY_HEADER_BYTES);
    const data = await this.exactly(header.readUInt32BE(16));
    return { option: header.readUInt32BE(8), type: header.readUInt32BE(12), data };
  }

  request(
    type: number,
    offset: bigint | number,
    length: number,
    options: { flags?: number; cookie?: bigint; payload?: Uint8Array } = {},
  ): void {
    this.send(
      u32(REQUEST_MAGIC),
      u16(options.flags ?? 0),
      u16(type),
      u64(options.cookie ?? 7n),
      u64(BigInt(offset)),
      u32(length),
      options.payload ?? new Uint8Array(0),
    );
  }

  async simpleReply(): Promise<{ errno: number; cookie: bigint }> {
    const bytes = await this.exactly(16);
    if (bytes.readUInt32BE(0) !== 0x67446698) throw new Error('not a simple reply');
    return { errno: bytes.readUInt32BE(4), cookie: bytes.readBigUInt64BE(8) };
  }

  async chunk(): Promise<{ flags: number; type: number; cookie: bigint; data: Buffer }> {
    const header = await this.exactly(CHUNK_HEADER_BYTES);
    if (header.readUInt32BE(0) !== 0x668e33ef) throw new Error('not a structured reply');
    return {
      flags: header.readUInt16BE(4),
      type: header.readUInt16BE(6),
      cookie: header.readBigUInt64BE(8),
      data: await this.exactly(header.readUInt32BE(16)),
    };
  }

  close(): void {
    this.socket.destroy();
  }
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

export const infoRequest = (name: string, wants: readonly number[]): Buffer =>
  Buffer.concat([u32(Buffer.byteLength(name)), Buffer.from(name), u16(wants.length), ...wants.map(u16)]);

export const metaRequest = (name: string, queries: readonly string[]): Buffer =>
  Buffer.concat([
    u32(Buffer.byteLength(name)),
    Buffer.from(name),
    u32(queries.length),
    ...queries.flatMap((query) => [u32(Buffer.byteLength(query)), Buffer.from(query)]),
  ]);
