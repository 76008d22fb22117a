import { type BlockDevice, isBlockError } from '@antipode/blocks';
import type { ExportSource, NbdClientIdentity, OpenExport } from './exports.ts';
import {
  decodeName,
  exportNameReply,
  infoBlockSizeReply,
  infoExportReply,
  infoTextReply,
  metaContextReply,
  optionError,
  optionReply,
  readInfoRequest,
  readMetaContextRequest,
  serverReply,
} from './option-codec.ts';
import { BASE_ALLOCATION, Info, Option, Rep, type RepError, TransmissionFlag } from './protocol.ts';
import type { Agreed } from './request-codec.ts';

export interface NegotiationSetting {
  readonly exports: ExportSource;
  readonly client: NbdClientIdentity;
  /** `required`: nothing but STARTTLS is answered until the connection is encrypted. */
  readonly tls: 'none' | 'offered' | 'required' | 'established';
  /** The client declined the 124 zeros after EXPORT_NAME. */
  readonly noZeroes: boolean;
}

/** What one option leads to. Replies are sent in any case. */
export type OptionOutcome = { readonly replies: readonly Uint8Array[] } & (
  | { readonly next: 'option' }
  | { readonly next: 'close'; readonly reason: string }
  | { readonly next: 'starttls' }
  | { readonly next: 'transmission'; readonly export: OpenExport; readonly agreed: Agreed }
);

/** What an export can do, as told to the client when it opens it; the right to write is the one of that moment. */
export function transmissionFlags(device: BlockDevice, structured: boolean): number {
  return (
    TransmissionFlag.HAS_FLAGS |
    (device.access() === 'read_only' ? TransmissionFlag.READ_ONLY : 0) |
    TransmissionFlag.SEND_FLUSH |
    TransmissionFlag.SEND_FUA |
    TransmissionFlag.SEND_TRIM |
    TransmissionFlag.SEND_WRITE_ZEROES |
    TransmissionFlag.SEND_FAST_ZERO |
    TransmissionFlag.SEND_CACHE |
    (structured ? TransmissionFlag.SEND_DF : 0) |
    // A flush on one connection covers what was completed on all: the engine has one log [C9.5].
    TransmissionFlag.CAN_MULTI_CONN
  );
}

/** The option phase of one connection, from greeting (or STARTTLS) to GO: a state of two facts and a function. */
export class Negotiation {
  readonly #setting: NegotiationSetting;
  #structured = false;
  /** Export for which the client chose `base:allocation`; void when it opens another. */
  #allocationFor: string | undefined;

  constructor(setting: NegotiationSetting) {
    this.#setting = setting;
  }

  /** A promise where the source of exports asks others; `data` is not looked at any more when this returns. */
  option(option: number, data: Buffer): OptionOutcome | Promise<OptionOutcome> {
    const { tls } = this.#setting;
    if (option === Option.ABORT)
      return { replies: [optionReply(option, Rep.ACK)], next: 'close', reason: 'the client gave up' };
    if (option === Option.STARTTLS) return this.#startTls(data);
    if (tls === 'required') {
      if (option === Option.EXPORT_NAME) return { replies: [], next: 'close', reason: 'TLS is required' };
      return refused(option, Rep.ERR_TLS_REQD, 'this server requires TLS');
    }
    switch (option) {
      case Option.EXPORT_NAME:
        return this.#exportName(data);
      case Option.LIST:
        return this.#list(data);
      case Option.INFO:
      case Option.GO:
        return this.#info(option, data);
      case Option.STRUCTURED_REPLY:
        if (data.length > 0) return refused(option, Rep.ERR_INVALID, 'this option has no data');
        this.#structured = true;
        return answered(optionReply(option, Rep.ACK));
      case Option.LIST_META_CONTEXT:
      case Option.SET_META_CONTEXT:
        return this.#metaContext(option, data);
      default:
        return refused(option, Rep.ERR_UNSUP, `option ${option} is not known`);
    }
  }

  #startTls(data: Buffer): OptionOutcome {
    const option = Option.STARTTLS;
    if (data.length > 0) return refused(option, Rep.ERR_INVALID, 'this option has no data');
    switch (this.#setting.tls) {
      case 'none':
        return refused(option, Rep.ERR_POLICY, 'this server has no certificate');
      case 'established':
        return refused(option, Rep.ERR_INVALID, 'the connection is encrypted already');
      case 'offered':
      case 'required':
        return { replies: [optionReply(option, Rep.ACK)], next: 'starttls' };
    }
  }

  /** The old way in: it has no error replies, so every failure ends the connection. */
  #exportName(data: Buffer): OptionOutcome | Promise<OptionOutcome> {
    const name = decodeName(data);
    if (name === undefined) return { replies: [], next: 'close', reason: 'no such export' };
    return after(this.#open(name), (opened) => {
      if (!('device' in opened)) return { replies: [], next: 'close', reason: 'no such export' };
      const flags = transmissionFlags(opened.device, this.#structured);
      const reply = exportNameReply(opened.device.size(), flags, this.#setting.noZeroes);
      return { replies: [reply], next: 'transmission', export: opened, agreed: this.#agreed(name, flags) };
    });
  }

  #list(data: Buffer): OptionOutcome | Promise<OptionOutcome> {
    if (data.length > 0) return refused(Option.LIST, Rep.ERR_INVALID, 'this option has no data');
    return after(this.#setting.exports.list(this.#setting.client), (entries) => {
      const lines = entries.map((entry) => serverReply(Option.LIST, entry.name, entry.description));
      return answered(...lines, optionReply(Option.LIST, Rep.ACK));
    });
  }

  #info(option: typeof Option.INFO | typeof Option.GO, data: Buffer): OptionOutcome | Promise<OptionOutcome> {
    const request = readInfoRequest(data);
    if (request === undefined) return refused(option, Rep.ERR_INVALID, 'malformed request');
    return after(this.#open(request.name), (opened) => this.#informed(option, request, opened));
  }

  #informed(
    option: typeof Option.INFO | typeof Option.GO,
    request: NonNullable<ReturnType<typeof readInfoRequest>>,
    opened: Opened,
  ): OptionOutcome {
    if ('error' in opened) return refused(option, opened.error, opened.text);
    const { device, name, description } = opened;
    const flags = transmissionFlags(device, this.#structured);
    const replies = [infoExportReply(option, device.size(), flags)];
    if (request.wants.has(Info.NAME)) replies.push(infoTextReply(option, Info.NAME, name));
    if (request.wants.has(Info.DESCRIPTION) && description !== undefined)
      replies.push(infoTextReply(option, Info.DESCRIPTION, description));
    if (request.wants.has(Info.BLOCK_SIZE)) replies.push(infoBlockSizeReply(option));
    replies.push(optionReply(option, Rep.ACK));
    if (option === Option.GO)
      return { replies, next: 'transmission', export: opened, agreed: this.#agreed(request.name, flags) };
    device.close();
    return answered(...replies);
  }

  #metaContext(
    option: typeof Option.LIST_META_CONTEXT | typeof Option.SET_META_CONTEXT,
    data: Buffer,
  ): OptionOutcome | Promise<OptionOutcome> {
    const request = readMetaContextRequest(data);
    if (request === undefined) return refused(option, Rep.ERR_INVALID, 'malformed request');
    if (!this.#structured) return refused(option, Rep.ERR_INVALID, 'structured replies come first');
    return after(this.#open(request.name), (opened) => this.#contexts(option, request, opened));
  }

  #contexts(
    option: typeof Option.LIST_META_CONTEXT | typeof Option.SET_META_CONTEXT,
    request: NonNullable<ReturnType<typeof readMetaContextRequest>>,
    opened: Opened,
  ): OptionOutcome {
    if ('error' in opened) return refused(option, opened.error, opened.text);
    opened.device.close();
    const listing = option === Option.LIST_META_CONTEXT;
    const chosen =
      request.queries.includes(BASE_ALLOCATION) ||
      (listing && (request.queries.length === 0 || request.queries.includes('base:')));
    if (!listing) this.#allocationFor = chosen ? request.name : undefined;
    const replies = chosen ? [metaContextReply(option, BASE_ALLOCATION, listing)] : [];
    return answered(...replies, optionReply(option, Rep.ACK));
  }

  #open(name: string): Opened | Promise<Opened> {
    const found = (opened: OpenExport | undefined): Opened =>
      opened ?? { error: Rep.ERR_UNKNOWN, text: 'no such export' };
    try {
      const opened = this.#setting.exports.open(name, this.#setting.client);
      return opened instanceof Promise ? opened.then(found, notOpened) : found(opened);
    } catch (error) {
      return notOpened(error);
    }
  }

  #agreed(name: string, flags: number): Agreed {
    return {
      readOnly: (flags & TransmissionFlag.READ_ONLY) !== 0,
      structured: this.#structured,
      allocationContext: this.#structured && this.#allocationFor === name,
    };
  }
}

type Opened = OpenExport | { readonly error: RepError; readonly text: string };

function notOpened(error: unknown): Opened {
  if (!isBlockError(error)) throw error;
  if (error.code === 'not_found') return { error: Rep.ERR_UNKNOWN, text: 'no such export' };
  return { error: Rep.ERR_SHUTDOWN, text: 'the export cannot be opened now' };
}

/** Goes on at once where nothing has to be waited for. */
const after = <T, R>(value: T | Promise<T>, next: (value: T) => R): R | Promise<R> =>
  value instanceof Promise ? value.then(next) : next(value);

const answered = (...replies: readonly Uint8Array[]): OptionOutcome => ({ replies, next: 'option' });
const refused = (option: number, error: RepError, text: string): OptionOutcome =>
  answered(optionError(option, error, text));
