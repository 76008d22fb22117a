import { assert } from '@antipode/base';
import { entry_bytes } from './geometry.ts';

const attribute = { label: 0x08, directory: 0x10, archive: 0x20 } as const;
/** Name and extension are shown in lower case. */
const lowerCase = 0x18;

export interface Entry {
  /** `note1a.txt`, `.` or `..`. */
  readonly name: string;
  readonly isDirectory: boolean;
  readonly cluster: number;
  readonly size_bytes: number;
  /** Generation that wrote it: its time stamp. */
  readonly version: number;
}

/** The bytes of a directory, without what fills its last cluster. */
export function directoryBytes(entries: readonly Entry[], label?: string): Buffer {
  const bytes = Buffer.alloc((entries.length + (label === undefined ? 0 : 1)) * entry_bytes);
  let offset = 0;
  if (label !== undefined) {
    bytes.write(label.padEnd(11).slice(0, 11), offset, 'latin1');
    bytes.writeUInt8(attribute.label, offset + 11);
    writeTimes(bytes, offset, 0);
    offset += entry_bytes;
  }
  for (const entry of entries) {
    bytes.write(shortName(entry.name), offset, 'latin1');
    bytes.writeUInt8(entry.isDirectory ? attribute.directory : attribute.archive, offset + 11);
    bytes.writeUInt8(entry.name.startsWith('.') ? 0 : lowerCase, offset + 12);
    writeTimes(bytes, offset, entry.version);
    bytes.writeUInt16LE(entry.cluster >>> 16, offset + 20);
    bytes.writeUInt16LE(entry.cluster & 0xffff, offset + 26);
    bytes.writeUInt32LE(entry.isDirectory ? 0 : entry.size_bytes, offset + 28);
    offset += entry_bytes;
  }
  return bytes;
}

function shortName(name: string): string {
  if (name === '.' || name === '..') return name.padEnd(11);
  const [base = '', extension = ''] = name.toUpperCase().split('.');
  assert(base.length >= 1 && base.length <= 8 && extension.length <= 3, `${name} is no short name`);
  return base.padEnd(8) + extension.padEnd(3);
}

/** 1 January 2026, and one minute for each generation. */
function writeTimes(bytes: Buffer, entry: number, version: number): void {
  const date = ((2026 - 1980) << 9) | (1 << 5) | 1;
  const time = (12 << 11) | (version << 5);
  bytes.writeUInt16LE(time, entry + 14);
  bytes.writeUInt16LE(date, entry + 16);
  bytes.writeUInt16LE(date, entry + 18);
  bytes.writeUInt16LE(time, entry + 22);
  bytes.writeUInt16LE(date, entry + 24);
}
