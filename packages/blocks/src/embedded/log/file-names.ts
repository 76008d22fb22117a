/**
 * Names in a log's directory. A name ending in `.tmp` is unfinished and is removed at start. `cut` means: records end at
 * this offset with this sequence, and what lies behind counts for nothing. The cut stands in the name because a rename
 * is durable without another sync of a file whose last sync failed [C6.4].
 */
export const RESERVE_NAME = 'reserve';

export interface SegmentName {
  readonly name: string;
  readonly number: number;
  readonly cut?: { readonly end: number; readonly last: number };
}

const digits = (n: number, width: number) => String(n).padStart(width, '0');

export const segmentName = (number: number): string => `segment-${digits(number, 10)}`;
export const cutName = (number: number, end: number, last: number): string =>
  `${segmentName(number)}-cut-${digits(end, 10)}-${digits(last, 16)}`;
export const temporaryName = (name: string): string => `${name}.tmp`;
export const isTemporaryName = (name: string): boolean => name.endsWith('.tmp');

export function parseSegmentName(name: string): SegmentName | undefined {
  const match = /^segment-(\d{10})(?:-cut-(\d{10})-(\d{16}))?$/.exec(name);
  if (!match) return undefined;
  const number = Number(match[1]);
  if (match[2] === undefined) return { name, number };
  return { name, number, cut: { end: Number(match[2]), last: Number(match[3]) } };
}
