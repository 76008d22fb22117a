import { BlockError, type BlockErrorCode } from '@antipode/blocks';
import { describe, expect, test } from 'vitest';
import { errnoName, failureOf } from './errno.ts';
import {
  decodeName,
  exportNameReply,
  greeting,
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
import { Command, CommandFlag, Info, Option, Rep } from './protocol.ts';
import {
  blockStatusChunk,
  errorChunk,
  writeDataChunkPrefix,
  writeHoleChunk,
  writeNoneChunk,
  writeSimpleReply,
} from './reply-codec.ts';
import { type Agreed, readRequest, refuse } from './request-codec.ts';
import { infoRequest, metaRequest } from './testing/raw-client.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const COOKIE = { cookieHigh: 0x01020304, cookieLow: 0xf5f6f7f8 };

/** What a writer of a fixed-size reply wrote. */
function written(write: (into: Buffer, at: number) => number): string {
  const into = Buffer.alloc(64, 0xee);
  const end = write(into, 3);
  expect(into.subarray(0, 3).toString('hex')).toBe('eeeeee');
  return into.subarray(3, end).toString('hex');
}

describe('option phase, byte for byte', () => {
  test('greeting: both magics, fixed newstyle and no-zeroes', () => {
    expect(greeting()).toEqual(hex('4e42444d41474943 49484156454f5054 0003'));
  });

  test('option replies', () => {
    expect(optionReply(Option.LIST, Rep.ACK)).toEqual(hex('0003e889045565a9 00000003 00000001 00000000'));
    expect(optionError(99, Rep.ERR_UNSUP, 'no')).toEqual(hex('0003e889045565a9 00000063 80000001 00000002 6e6f'));
    expect(serverReply(Option.LIST, 'ab', 'c')).toEqual(
      hex('0003e889045565a9 00000003 00000002 00000007 00000002 6162 63'),
    );
  });

  test('information about an export', () => {
    expect(infoExportReply(Option.GO, 2 ** 40, 0x0d6d)).toEqual(
      hex('0003e889045565a9 00000007 00000003 0000000c 0000 0000010000000000 0d6d'),
    );
    expect(infoBlockSizeReply(Option.INFO)).toEqual(
      hex('0003e889045565a9 00000006 00000003 0000000e 0003 00000001 00001000 02000000'),
    );
    expect(infoTextReply(Option.GO, Info.NAME, 'v')).toEqual(
      hex('0003e889045565a9 00000007 00000003 00000003 0001 76'),
    );
    expect(metaContextReply(Option.SET_META_CONTEXT, 'base:allocation', false)).toEqual(
      Buffer.concat([hex('0003e889045565a9 0000000a 00000004 00000013 00000001'), Buffer.from('base:allocation')]),
    );
  });

  test('the old answer to EXPORT_NAME, with and without its zeros', () => {
    expect(exportNameReply(4096, 0x6d, true)).toEqual(hex('0000000000001000 006d'));
    expect(exportNameReply(4096, 0x6d, false)).toEqual(
      Buffer.concat([hex('0000000000001000 006d'), Buffer.alloc(124)]),
    );
  });

  test('requests for information: well formed, and each way not to be', () => {
    const good = infoRequest('vol', [3, 1]);
    expect(readInfoRequest(good)).toEqual({ name: 'vol', wants: new Set([3, 1]) });
    for (let length = 0; length < good.length; length += 1)
      expect(readInfoRequest(good.subarray(0, length))).toBeUndefined();
    expect(readInfoRequest(Buffer.concat([good, Buffer.alloc(1)]))).toBeUndefined();
    expect(readInfoRequest(hex('ffffffff 766f6c 0000'))).toBeUndefined();
    expect(readInfoRequest(infoRequest('a\0b', []))).toBeUndefined();
    expect(readInfoRequest(hex('00000001 ff 0000'))).toBeUndefined();
  });

  test('requests for contexts: well formed, and each way not to be', () => {
    const good = metaRequest('vol', ['base:allocation', 'x:y']);
    expect(readMetaContextRequest(good)).toEqual({ name: 'vol', queries: ['base:allocation', 'x:y'] });
    for (let length = 0; length < good.length; length += 1)
      expect(readMetaContextRequest(good.subarray(0, length))).toBeUndefined();
    expect(readMetaContextRequest(hex('00000000 ffffffff'))).toBeUndefined();
  });

  test('names are UTF-8 of at most 4096 bytes', () => {
    expect(decodeName(Buffer.from('Ōsaka'))).toBe('Ōsaka');
    expect(decodeName(Buffer.alloc(4096, 0x61))).toHaveLength(4096);
    expect(decodeName(Buffer.alloc(4097, 0x61))).toBeUndefined();
  });
});

describe('transmission phase, byte for byte', () => {
  test('a request', () => {
    const bytes = hex('ee 25609513 0005 0001 0102030405060708 0000010000002000 00001000');
    expect(readRequest(bytes, 1)).toEqual({
      flags: 5,
      type: 1,
      cookieHigh: 0x01020304,
      cookieLow: 0x05060708,
      offset: 2 ** 40 + 8192,
      length: 4096,
    });
    expect(readRequest(hex('25609514 0005 0001 0102030405060708 0000010000002000 00001000'), 0)).toBeUndefined();
  });

  test('simple reply', () => {
    expect(written((into, at) => writeSimpleReply(into, at, COOKIE, 28))).toBe('674466980000001c01020304f5f6f7f8');
  });

  test('chunks', () => {
    expect(written((into, at) => writeNoneChunk(into, at, COOKIE))).toBe('668e33ef0001000001020304f5f6f7f800000000');
    expect(written((into, at) => writeDataChunkPrefix(into, at, COOKIE, true, 2 ** 33 + 1, 512))).toBe(
      '668e33ef0001000101020304f5f6f7f8000002080000000200000001',
    );
    expect(written((into, at) => writeHoleChunk(into, at, COOKIE, false, 4096, 8192))).toBe(
      '668e33ef0000000201020304f5f6f7f80000000c000000000000100000002000',
    );
  });

  test('errors with text, and with their place', () => {
    expect(errorChunk(COOKIE, { errno: 'EPERM', text: 'no' })).toEqual(
      hex('668e33ef 0001 8001 01020304f5f6f7f8 00000008 00000001 0002 6e6f'),
    );
    expect(errorChunk(COOKIE, { errno: 'EIO', text: '' }, 0x1_0000_1000)).toEqual(
      hex('668e33ef 0001 8002 01020304f5f6f7f8 0000000e 00000005 0000 0000000100001000'),
    );
    expect(errorChunk(COOKIE, { errno: 'EIO', text: 'x'.repeat(5000) })).toHaveLength(20 + 6 + 512);
  });

  test('block status', () => {
    const chunk = blockStatusChunk(COOKIE, [
      { kind: 'data', length: 4096 },
      { kind: 'hole', length: 0xffff_f000 },
    ]);
    expect(chunk).toEqual(
      hex('668e33ef 0001 0005 01020304f5f6f7f8 00000014 00000001 00001000 00000000 fffff000 00000003'),
    );
  });
});

describe('what is refused before the device is asked', () => {
  const agreed: Agreed = { readOnly: false, structured: true, allocationContext: true };
  const request = (type: number, offset: number, length: number, flags = 0) => ({
    ...COOKIE,
    type,
    offset,
    length,
    flags,
  });
  const errno = (...args: Parameters<typeof refuse>) => refuse(...args)?.errno;
  const SIZE = 64 * 2 ** 20;

  test('ranges: past the end is ENOSPC for writes and zeroes, EINVAL for the rest', () => {
    for (const type of [Command.WRITE, Command.WRITE_ZEROES])
      expect(errno(request(type, SIZE - 1, 2), agreed, SIZE)).toBe('ENOSPC');
    for (const type of [Command.READ, Command.TRIM, Command.CACHE, Command.BLOCK_STATUS])
      expect(errno(request(type, SIZE - 1, 2), agreed, SIZE)).toBe('EINVAL');
    expect(errno(request(Command.READ, SIZE - 1, 1), agreed, SIZE)).toBeUndefined();
    expect(errno(request(Command.READ, SIZE, 1), agreed, SIZE)).toBe('EINVAL');
    expect(errno(request(Command.READ, 2 ** 64, 1), agreed, SIZE)).toBe('EINVAL');
    expect(errno(request(Command.TRIM, 0, 0xffffffff), agreed, 2 ** 33)).toBeUndefined();
  });

  test('lengths above the maximum payload', () => {
    expect(errno(request(Command.READ, 0, 2 ** 25 + 1), agreed, SIZE)).toBe('EINVAL');
    expect(errno(request(Command.WRITE, 0, 2 ** 25 + 1), agreed, SIZE)).toBe('EINVAL');
    expect(errno(request(Command.READ, 0, 2 ** 25), agreed, SIZE)).toBeUndefined();
  });

  test('unknown commands and flags that do not belong', () => {
    expect(errno(request(8, 0, 1), agreed, SIZE)).toBe('EINVAL');
    expect(errno(request(Command.DISC, 0, 0), agreed, SIZE)).toBe('EINVAL');
    expect(errno(request(Command.READ, 0, 1, CommandFlag.REQ_ONE), agreed, SIZE)).toBe('EINVAL');
    expect(errno(request(Command.WRITE, 0, 1, 1 << 9), agreed, SIZE)).toBe('EINVAL');
    expect(errno(request(Command.READ, 0, 1, CommandFlag.DF), { ...agreed, structured: false }, SIZE)).toBe('EINVAL');
    expect(errno(request(Command.READ, 0, 1, CommandFlag.DF | CommandFlag.FUA), agreed, SIZE)).toBeUndefined();
  });

  test('block status without its context, or of nothing', () => {
    expect(errno(request(Command.BLOCK_STATUS, 0, 1), { ...agreed, allocationContext: false }, SIZE)).toBe('EINVAL');
    expect(errno(request(Command.BLOCK_STATUS, 0, 0), agreed, SIZE)).toBe('EINVAL');
  });

  test('[C11.2] a read-only export refuses write, trim and write-zeroes, and nothing else', () => {
    const readOnly = { ...agreed, readOnly: true };
    for (const type of [Command.WRITE, Command.TRIM, Command.WRITE_ZEROES])
      expect(errno(request(type, 0, 1), readOnly, SIZE)).toBe('EPERM');
    for (const type of [Command.READ, Command.FLUSH, Command.CACHE, Command.BLOCK_STATUS])
      expect(errno(request(type, 0, 1), readOnly, SIZE)).toBeUndefined();
  });
});

test('every error of a device has its number', () => {
  const expected: Record<BlockErrorCode, string> = {
    read_only: 'EPERM',
    no_space: 'ENOSPC',
    io_error: 'EIO',
    corrupt: 'EIO',
    out_of_range: 'EINVAL',
    not_found: 'ESHUTDOWN',
    closed: 'ESHUTDOWN',
    moved: 'ESHUTDOWN',
    in_use: 'EIO',
    exists: 'EIO',
    stale: 'EIO',
  };
  for (const [code, errno] of Object.entries(expected))
    expect(failureOf(new BlockError(code as BlockErrorCode, 'why'))).toEqual({ errno, text: 'why' });
  expect(failureOf(new Error('secret detail'))).toEqual({ errno: 'EIO', text: 'the storage engine failed' });
  expect(errnoName(108)).toBe('ESHUTDOWN');
  expect(errnoName(4711)).toBe('EINVAL');
});
