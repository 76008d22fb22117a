import type { Disk, DiskFile } from '../disk.ts';
import { isTemporaryName, parseSegmentName, RESERVE_NAME, type SegmentName } from './file-names.ts';
import { blocksMatch, decodeHeader, RECORD_HEADER_BYTES, type RecordHeader } from './record-format.ts';
import { type Found, SegmentCursor } from './segment-cursor.ts';
import { decodeSegmentHeader, SEGMENT_HEADER_BYTES, type SegmentHeader } from './segment-header.ts';
import type { StoredSegment } from './stored-segment.ts';
import type { LayerId, LogDamage, LogRecord } from './types.ts';

/** What is found in a log's directory at start. */
export interface Recovered {
  readonly segments: readonly StoredSegment[];
  /** Above every number that any file has. */
  readonly nextNumber: number;
  /** Everything up to here is on stable storage, or damaged. */
  readonly durableSequence: number;
  /** What follows, without gaps: whole, but perhaps nowhere but in the kernel's memory. It is to be appended again. */
  readonly carried: readonly CarriedRecord[];
  readonly damages: readonly LogDamage[];
  /**
   * Files to remove, once a segment that starts behind `durableSequence` and holds what was carried is on stable storage.
   * Then, too, unsettled segments may be cut.
   */
  readonly obsolete: readonly string[];
  /** Present when the newest records were incomplete and have been dropped: none of them was known to be durable. */
  readonly tornTail?: { readonly segment: number; readonly offset: number; readonly firstSequence: number };
}

export interface CarriedRecord {
  readonly sequence: number;
  readonly record: LogRecord;
}

const SCAN_BUFFER_BYTES = 1024 * 1024;

/** A segment as its header, its name and its footer or start record describe it. */
interface Opened {
  readonly number: number;
  readonly name: SegmentName;
  readonly header: SegmentHeader | undefined;
  readonly size: number;
  /** From the start record; undefined when there is none (never used, or lost). */
  readonly base: number | undefined;
  /** From the start record: up to here older segments hold the same records. */
  readonly repeats: number;
  readonly claim: number;
  readonly footer: RecordHeader | undefined;
}

/**
 * Brings the directory into order after a stop of any kind. What is known to have been durable is kept, damage in it is
 * reported [C6.3]; behind it, records count up to the first that is not whole, and what follows is dropped for good, so
 * that the log is a prefix of what was appended. Changes nothing yet that a second run would miss.
 */
export async function recoverLog(disk: Disk): Promise<Recovered> {
  const names = disk
    .list()
    .map(parseSegmentName)
    .filter((name) => name !== undefined);
  const nextNumber = 1 + Math.max(0, ...disk.list().map(numberInName));
  const opened = names.map((name) => openSegment(disk, name)).sort((a, b) => a.number - b.number);
  for (const name of disk.list()) {
    if (isTemporaryName(name) && (name.startsWith(RESERVE_NAME) || name.startsWith('segment-'))) disk.remove(name);
  }
  const recovery = new Recovery(disk, opened);
  await recovery.run();
  return { ...recovery.result(), nextNumber };
}

function numberInName(name: string): number {
  return Number(/^segment-(\d{10})/.exec(name)?.[1] ?? 0);
}

function openSegment(disk: Disk, name: SegmentName): Opened {
  const file = disk.open(name.name, 'open');
  try {
    const size = file.size();
    const { header, first } = onceMore(
      () => readHead(file),
      (found) => found.header !== undefined && found.first !== undefined,
    );
    if (header === undefined || header.number !== name.number) {
      return {
        number: name.number,
        name,
        header: undefined,
        size,
        base: undefined,
        repeats: 0,
        claim: 0,
        footer: undefined,
      };
    }
    const start = first?.type === 'start' ? first : undefined;
    const footer = name.cut
      ? undefined
      : onceMore(
          () => readFooter(file, size, header.salt),
          (found) => found !== undefined,
        );
    const claim = Math.max(start?.durable ?? 0, footer?.durable ?? 0);
    const base = start?.sequence ?? footer?.layer;
    return { number: name.number, name, header, size, base, repeats: start?.block ?? 0, claim, footer };
  } finally {
    file.close();
  }
}

/** A read may have failed to give what is stored: where that is not what is wanted, it is looked at once more. */
function onceMore<T>(look: () => T, isGood: (found: T) => boolean): T {
  const found = look();
  return isGood(found) ? found : look();
}

function readHead(file: DiskFile): {
  readonly header: SegmentHeader | undefined;
  readonly first: RecordHeader | undefined;
} {
  const head = new Uint8Array(SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES);
  const got = file.readSync(head, 0);
  const header = decodeSegmentHeader(head.subarray(0, Math.min(got, SEGMENT_HEADER_BYTES)));
  const after = head.subarray(SEGMENT_HEADER_BYTES, got);
  return { header, first: header && recordAt(after, SEGMENT_HEADER_BYTES, header.salt) };
}

function recordAt(bytes: Uint8Array, offset: number, salt: bigint): RecordHeader | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = decodeHeader(bytes, view, 0, { salt, offset, limit: offset + bytes.length });
  return header === 'more' || header === 'invalid' ? undefined : header;
}

function readFooter(file: DiskFile, size: number, salt: bigint): RecordHeader | undefined {
  const offset = size - RECORD_HEADER_BYTES;
  if (offset < SEGMENT_HEADER_BYTES) return undefined;
  const bytes = new Uint8Array(RECORD_HEADER_BYTES);
  file.readSync(bytes, offset);
  const header = recordAt(bytes, offset, salt);
  return header?.type === 'footer' ? header : undefined;
}

class Recovery {
  private readonly disk: Disk;
  private readonly opened: readonly Opened[];
  private readonly stored: StoredSegment[] = [];
  private readonly damages: LogDamage[] = [];
  private readonly obsolete: string[] = [];
  private readonly carried: CarriedRecord[] = [];
  /** The highest sequence that anything valid claims to be on stable storage. */
  private durable = 0;
  /** The next sequence that is wanted of the segments of the one order. */
  private expected = 1;
  /**
   * Whether the segments so far end where they were meant to. A segment's name is durable before its first record, so a
   * gap after such an end is a segment that compaction removed.
   */
  private settled = true;
  private torn: Recovered['tornTail'];

  constructor(disk: Disk, opened: readonly Opened[]) {
    this.disk = disk;
    this.opened = opened;
  }

  result() {
    const torn = this.torn === undefined ? {} : { tornTail: this.torn };
    return {
      segments: this.stored,
      durableSequence: this.durable,
      carried: this.carried,
      damages: this.damages,
      obsolete: this.obsolete,
      ...torn,
    };
  }

  async run(): Promise<void> {
    const found = new Map<number, readonly Found[]>();
    for (const segment of this.opened) {
      this.durable = Math.max(this.durable, segment.claim, segment.name.cut?.last ?? 0);
      if (isOpenEnded(segment)) found.set(segment.number, await this.readAll(segment));
    }
    for (const records of found.values()) {
      for (const item of records) {
        if (item.kind === 'record') this.durable = Math.max(this.durable, item.header.durable);
      }
    }
    for (const [i, segment] of this.opened.entries()) {
      if (segment.header?.kind !== 'log') this.keepAside(segment);
      else await this.takeInOrder(segment, found.get(segment.number), baseAfter(this.opened, i));
    }
    if (this.expected <= this.durable) {
      this.damage(this.opened.at(-1)?.number ?? 0, 0, `records ${this.expected} to ${this.durable} are lost`);
      this.expected = this.durable + 1;
    }
    await this.carryRepeated(found);
  }

  /**
   * Where the log would end, a repetition may have been cut short, by a failing disk or in the middle of a start: then the
   * copy that an older segment has still counts. The process that made it may have acknowledged it as written.
   */
  private async carryRepeated(found: ReadonlyMap<number, readonly Found[]>): Promise<void> {
    const from = this.expected;
    while (await this.carryCopy(found)) this.expected++;
    if (this.torn !== undefined && this.expected > from) this.torn = { ...this.torn, firstSequence: this.expected };
  }

  /** Takes the expected record from the youngest segment that holds it whole, as long as no younger one voids it. */
  private async carryCopy(found: ReadonlyMap<number, readonly Found[]>): Promise<boolean> {
    for (const segment of this.opened.toReversed()) {
      if (segment.header?.kind !== 'log') continue;
      const copy = found.get(segment.number)?.find((item) => isRecord(item, this.expected));
      if (copy?.kind === 'record') {
        const file = this.disk.open(segment.name.name, 'open');
        try {
          if (await this.carry(file, copy)) return true;
        } finally {
          file.close();
        }
      }
      if (segment.base !== undefined && segment.base <= this.expected && segment.repeats < this.expected) return false;
    }
    return false;
  }

  private async readAll(segment: Opened): Promise<readonly Found[]> {
    const file = this.disk.open(segment.name.name, 'open');
    try {
      const found: Found[] = [];
      const cursor = new SegmentCursor(
        file,
        segment.header!.salt,
        SEGMENT_HEADER_BYTES,
        segment.size,
        new Uint8Array(SCAN_BUFFER_BYTES),
      );
      for (let item = await cursor.next(); item !== undefined; item = await cursor.next()) found.push(item);
      return found;
    } finally {
      file.close();
    }
  }

  /** Relocated segments are complete before they get their name; one without a header cannot be read at all. */
  private keepAside(segment: Opened): void {
    const { number, name, header, footer, size } = segment;
    const base = { number, name: name.name, settled: true };
    if (header === undefined) {
      this.damage(number, 0, 'the segment header is not readable');
      this.settled = true;
      this.stored.push({ ...base, kind: 'log', salt: undefined, first: 1, last: 0, end: SEGMENT_HEADER_BYTES });
    } else if (footer === undefined) {
      this.damage(number, size, 'the footer of a relocated segment is not readable');
      this.stored.push({ ...base, kind: header.kind, salt: header.salt, first: 1, last: this.durable, end: size });
    } else {
      const end = size - RECORD_HEADER_BYTES;
      const { layer: first, sequence: last } = footer;
      this.stored.push({ ...base, kind: header.kind, salt: header.salt, first, last, end });
    }
  }

  private async takeInOrder(segment: Opened, found: readonly Found[] | undefined, until: number): Promise<void> {
    const { number, footer, name, size } = segment;
    const base = segment.base ?? this.expected;
    const common = { number, name: name.name, kind: 'log' as const, salt: segment.header!.salt, first: base };
    if (footer !== undefined) {
      const end = size - RECORD_HEADER_BYTES;
      return this.takeSettled({ ...common, last: footer.sequence, end, settled: true });
    }
    if (name.cut !== undefined) return this.takeSettled({ ...common, ...name.cut, settled: true });
    if (this.torn !== undefined || base >= until) return this.drop(segment);
    const gapAllowed = this.settled;
    this.settled = false;
    const hasDurable = found?.some((item) => item.kind === 'record' && item.header.sequence <= this.durable);
    if (segment.base === undefined && hasDurable !== true) {
      // Its first record is lost, and a sync of any other would have covered that one: nothing in it was durable, so what was is
      // older, and removed where it is not here. A power cut may have left later records of it whole.
      if (gapAllowed) this.expected = Math.max(this.expected, Math.min(this.durable + 1, until));
      return this.drop(segment);
    }
    if (gapAllowed) this.jump(base);
    this.missing(base, number, SEGMENT_HEADER_BYTES);
    if (this.torn !== undefined) return this.drop(segment);
    const end = await this.follow(segment, found ?? [], until);
    const last = Math.min(this.expected - 1, this.durable);
    if (last < base) this.drop(segment);
    else this.stored.push({ ...common, last, end, settled: false });
  }

  private takeSettled(segment: StoredSegment): void {
    if (this.settled) this.jump(segment.first);
    this.missing(segment.first, segment.number, SEGMENT_HEADER_BYTES);
    this.expected = segment.last + 1;
    this.settled = true;
    this.stored.push(segment);
  }

  /** Compaction removed what lies between: it was durable. */
  private jump(base: number): void {
    this.expected = Math.max(this.expected, base);
    this.durable = Math.max(this.durable, base - 1);
  }

  /** Records follow each other up to `until`; answers where those that were durable end. */
  private async follow(segment: Opened, found: readonly Found[], until: number): Promise<number> {
    const file = this.disk.open(segment.name.name, 'open');
    let end = SEGMENT_HEADER_BYTES;
    try {
      for (const item of found) {
        if (item.kind === 'bad') continue;
        const { header, offset } = item;
        if (isSequenced(header.type)) {
          if (header.sequence >= until) break;
          this.missing(header.sequence, segment.number, offset);
          if (this.torn !== undefined) break;
          if (header.sequence > this.durable && !(await this.carry(file, item))) {
            this.tear(segment.number, offset);
            break;
          }
          this.expected = header.sequence + 1;
        }
        if (header.sequence <= this.durable) end = offset + header.total_bytes;
      }
      return end;
    } finally {
      file.close();
    }
  }

  /** Sequences from the expected one up to `next` are not there. Lost if they were durable, else the log ends here. */
  private missing(next: number, segment: number, offset: number): void {
    if (next <= this.expected) return;
    if (this.expected > this.durable) {
      this.tear(segment, offset);
      return;
    }
    this.damage(segment, offset, `records ${this.expected} to ${next - 1} are lost`);
    this.expected = next;
  }

  private tear(segment: number, offset: number): void {
    this.torn ??= { segment, offset, firstSequence: this.expected };
  }

  /**
   * Takes a record along into the next segment. It is not enough to sync it where it is: an earlier process may have
   * failed to, and then the kernel takes its pages for clean [C6.4].
   */
  private async carry(file: DiskFile, item: Found & { kind: 'record' }): Promise<boolean> {
    const { header, offset } = item;
    const sequence = header.sequence;
    if (header.type === 'control')
      return this.carried.push({ sequence, record: { type: 'control', body: item.body! } }) > 0;
    const { block, count } = header;
    const layer = header.layer as LayerId;
    if (header.type === 'zero')
      return this.carried.push({ sequence, record: { type: 'zero', layer, block, count } }) > 0;
    const payload = new Uint8Array(header.payload_bytes);
    const checksums = item.checksums!;
    const isWhole = async () =>
      (await file.read(payload, offset + header.header_bytes)) === payload.length && blocksMatch(payload, checksums);
    if (!(await isWhole()) && !(await isWhole())) return false;
    this.carried.push({ sequence, record: { type: 'data', layer, block, count, payload, checksums } });
    return true;
  }

  private drop(segment: Opened): void {
    this.obsolete.push(segment.name.name);
  }

  private damage(segment: number, offset: number, detail: string): void {
    this.damages.push({ segment, offset, detail });
  }
}

const isSequenced = (type: string): boolean => type === 'data' || type === 'zero' || type === 'control';

const isRecord = (item: Found, sequence: number): boolean =>
  item.kind === 'record' && isSequenced(item.header.type) && item.header.sequence === sequence;

const isOpenEnded = (segment: Opened): boolean =>
  segment.header?.kind === 'log' && segment.footer === undefined && segment.name.cut === undefined;

/** The lowest sequence at which a younger segment goes on: from there on older ones do not count. */
function baseAfter(opened: readonly Opened[], index: number): number {
  let base = Number.POSITIVE_INFINITY;
  for (const later of opened.slice(index + 1)) {
    if (later.header?.kind === 'log') base = Math.min(base, later.base ?? base);
  }
  return base;
}
