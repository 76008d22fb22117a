import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type Clock, systemClock } from '@antipode/base';
import {
  NBD_KEEPALIVE_ms,
  NBD_MAX_OPTION_BYTES,
  NBD_MAX_STRING_BYTES,
  NBD_NEGOTIATION_DEADLINE_ms,
} from '../limits.ts';
import { Inlet } from './inlet.ts';
import { NbdError } from './nbd-error.ts';
import {
  BASE_ALLOCATION,
  GREETING_BYTES,
  HandshakeFlag,
  IHAVEOPT,
  Info,
  NBDMAGIC,
  OPTION_HEADER_BYTES,
  OPTION_REPLY_HEADER_BYTES,
  OPTION_REPLY_MAGIC,
  Option,
  Rep,
} from './protocol.ts';

export interface NbdClientTls {
  /** PEM of the authority that vouches for the server; without it the system's are used. */
  readonly ca?: string | Buffer;
  /** PEM of the certificate and key shown to the server. */
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  /** Name in the server's certificate, where it is not the host connected to. */
  readonly serverName?: string;
}

export interface NbdConnectSetting {
  readonly host: string;
  readonly port: number;
  /** A Unix socket; host and port do not count then. */
  readonly path?: string;
  /** Volume name or id. */
  readonly exportName: string;
  readonly tls?: NbdClientTls;
  /** Simple replies only (tests, and comparison with clients that know nothing else); default false. */
  readonly simpleReplies?: boolean;
  /** Bound of connecting and negotiating together. */
  readonly deadline_ms?: number;
  readonly clock?: Clock;
}

/** A connection that is ready for requests. */
export interface Negotiated {
  readonly socket: Socket;
  /** What has come already beyond the negotiation. */
  readonly inlet: Inlet;
  readonly size: number;
  readonly flags: number;
  readonly structured: boolean;
  /** Id under which `base:allocation` is reported; absent when the server does not offer it. */
  readonly allocationContext: number | undefined;
}

/** Connects and opens the export. Rejects with a `negotiation` or `connection` {@link NbdError}; nothing stays open then. */
export async function negotiate(setting: NbdConnectSetting): Promise<Negotiated> {
  const clock = setting.clock ?? systemClock;
  const deadline_ms = setting.deadline_ms ?? NBD_NEGOTIATION_DEADLINE_ms;
  const { host, port, path } = setting;
  const wire = new Wire(path === undefined ? connectTcp({ host, port, noDelay: true }) : connectTcp({ path }));
  const timer = clock.after(deadline_ms, () => wire.fail(new NbdError('connection', `no answer in ${deadline_ms} ms`)));
  try {
    return await new Handshake(wire, setting).run();
  } catch (error) {
    wire.socket.destroy();
    throw error;
  } finally {
    timer.cancel();
  }
}

/** A socket read by exact lengths, for the part of the protocol that goes back and forth. */
class Wire {
  socket: Socket;
  readonly inlet = new Inlet();
  #error: NbdError | undefined;
  #wake: (() => void) | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setKeepAlive(true, NBD_KEEPALIVE_ms);
    this.listen();
  }

  listen(): void {
    const { socket } = this;
    socket.on('data', this.#received);
    socket.on('error', (error) => this.fail(new NbdError('connection', error.message, { cause: error })));
    socket.on('close', () => this.fail(new NbdError('connection', 'the server closed the connection')));
  }

  /** The next `length` bytes. */
  async exactly(length: number): Promise<Buffer> {
    while (!this.inlet.ensure(length)) {
      if (this.#error !== undefined) throw this.#error;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const bytes = this.inlet.buffer.subarray(this.inlet.position, this.inlet.position + length);
    if (length > 0) this.inlet.advance(length);
    return bytes;
  }

  fail(error: NbdError): void {
    this.#error ??= error;
    this.#wake?.();
  }

  /** Stops reading, so that somebody else can take over. */
  release(): void {
    this.socket.pause();
    this.socket.off('data', this.#received);
  }

  readonly #received = (chunk: Buffer): void => {
    this.inlet.push(chunk);
    this.#wake?.();
  };
}

interface OptionReply {
  readonly type: number;
  readonly data: Buffer;
}

class Handshake {
  readonly #wire: Wire;
  readonly #setting: NbdConnectSetting;

  constructor(wire: Wire, setting: NbdConnectSetting) {
    this.#wire = wire;
    this.#setting = setting;
  }

  async run(): Promise<Negotiated> {
    const { exportName, tls, simpleReplies } = this.#setting;
    if (Buffer.byteLength(exportName) > NBD_MAX_STRING_BYTES) throw refused('the export name is too long');
    await this.#greet();
    if (tls !== undefined) await this.#startTls(tls);
    const structured = simpleReplies !== true && (await this.#structuredReplies());
    const allocationContext = structured ? await this.#allocationContext() : undefined;
    const { size, flags } = await this.#go();
    this.#wire.release();
    return { socket: this.#wire.socket, inlet: this.#wire.inlet, size, flags, structured, allocationContext };
  }

  async #greet(): Promise<void> {
    const hello = await this.#wire.exactly(GREETING_BYTES);
    if (hello.readBigUInt64BE(0) !== NBDMAGIC || hello.readBigUInt64BE(8) !== IHAVEOPT)
      throw refused('this is no NBD server of the newstyle');
    const offered = hello.readUInt16BE(16);
    if ((offered & HandshakeFlag.FIXED_NEWSTYLE) === 0) throw refused('the server lacks the fixed newstyle');
    const flags = Buffer.alloc(4);
    flags.writeUInt32BE(offered & (HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES));
    this.#wire.socket.write(flags);
  }

  async #startTls(tls: NbdClientTls): Promise<void> {
    this.#send(Option.STARTTLS, Buffer.alloc(0));
    await this.#acknowledged(Option.STARTTLS);
    if (this.#wire.inlet.available > 0) throw refused('the server sent bytes in the clear after STARTTLS');
    this.#wire.release();
    const raw = this.#wire.socket;
    const secure = connectTls({
      socket: raw,
      servername: tls.serverName ?? (isAddress(this.#setting.host) ? '' : this.#setting.host),
      minVersion: 'TLSv1.2',
      ...(tls.serverName === undefined ? { host: this.#setting.host } : {}),
      ...(tls.ca === undefined ? {} : { ca: tls.ca }),
      ...(tls.cert === undefined ? {} : { cert: tls.cert }),
      ...(tls.key === undefined ? {} : { key: tls.key }),
    });
    this.#wire.socket = secure;
    this.#wire.listen();
  }

  async #structuredReplies(): Promise<boolean> {
    this.#send(Option.STRUCTURED_REPLY, Buffer.alloc(0));
    const reply = await this.#reply(Option.STRUCTURED_REPLY);
    if (reply.type === Rep.ERR_TLS_REQD) throw refused('the server requires TLS');
    return reply.type === Rep.ACK;
  }

  async #allocationContext(): Promise<number | undefined> {
    const name = lengthAndText(this.#setting.exportName);
    const count = Buffer.alloc(4);
    count.writeUInt32BE(1);
    this.#send(Option.SET_META_CONTEXT, Buffer.concat([name, count, lengthAndText(BASE_ALLOCATION)]));
    let id: number | undefined;
    for (;;) {
      const { type, data } = await this.#reply(Option.SET_META_CONTEXT);
      if (type !== Rep.META_CONTEXT) return type === Rep.ACK ? id : undefined;
      if (data.length >= 4 && data.toString('utf8', 4) === BASE_ALLOCATION) id = data.readUInt32BE(0);
    }
  }

  async #go(): Promise<{ size: number; flags: number }> {
    this.#send(Option.GO, Buffer.concat([lengthAndText(this.#setting.exportName), Buffer.alloc(2)]));
    let found: { size: number; flags: number } | undefined;
    for (;;) {
      const { type, data } = await this.#reply(Option.GO);
      if (type === Rep.ACK) {
        if (found === undefined) throw refused('the server opened the export without telling its size');
        return found;
      }
      if (type !== Rep.INFO) throw refused(textOfError(type, data));
      if (data.length === 12 && data.readUInt16BE(0) === Info.EXPORT) {
        const size = data.readBigUInt64BE(2);
        if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw refused('the export is larger than this client can address');
        found = { size: Number(size), flags: data.readUInt16BE(10) };
      }
    }
  }

  #send(option: number, data: Buffer): void {
    const header = Buffer.alloc(OPTION_HEADER_BYTES);
    header.writeBigUInt64BE(IHAVEOPT, 0);
    header.writeUInt32BE(option, 8);
    header.writeUInt32BE(data.length, 12);
    this.#wire.socket.write(Buffer.concat([header, data]));
  }

  async #reply(option: number): Promise<OptionReply> {
    const header = await this.#wire.exactly(OPTION_REPLY_HEADER_BYTES);
    const length = header.readUInt32BE(16);
    if (header.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC || header.readUInt32BE(8) !== option)
      throw refused('the server is out of step');
    if (length > NBD_MAX_OPTION_BYTES) throw refused(`the server sent a reply of ${length} bytes`);
    const type = header.readUInt32BE(12);
    return { type, data: await this.#wire.exactly(length) };
  }

  async #acknowledged(option: number): Promise<void> {
    const { type, data } = await this.#reply(option);
    if (type !== Rep.ACK) throw refused(textOfError(type, data));
  }
}

const refused = (text: string): NbdError => new NbdError('negotiation', text);

function textOfError(type: number, data: Buffer): string {
  if (data.length > 0) return data.toString('utf8');
  const name = Object.entries(Rep).find(([, value]) => value === type)?.[0];
  return `the server answered ${name ?? type}`;
}

function lengthAndText(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** An address is no name that TLS could ask for. */
const isAddress = (host: string): boolean => host.includes(':') || /^[0-9.]+$/.test(host);
