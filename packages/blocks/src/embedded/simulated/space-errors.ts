import type { EmbeddedEngine } from '../embedded-engine.ts';
import { isTemporaryName, RESERVE_NAME } from '../log/file-names.ts';
import { LOG_LIMITS } from '../log/limits.ts';
import { SEGMENT_HEADER_BYTES } from '../log/segment-header.ts';
import type { SimulatedDisk } from './simulated-disk.ts';
import { segmentsOn } from './stored-blocks.ts';

/** A file of a segment that is gone may be kept to be used again. */
const sparesMost = LOG_LIMITS.spare_files_max;

/**
 * Compares what an engine at rest counts with what lies on its disk, to the byte: every file is one that it knows, every segment ends
 * where it says, and the sum is what it tells of its use. Nothing, if all is well.
 */
export function spaceErrors(engine: EmbeddedEngine, disk: SimulatedDisk): readonly string[] {
  const errors = [...engine.accountErrors()];
  const found = new Map(segmentsOn(disk).map((segment) => [segment.number, segment]));
  let sum = 0;
  for (const { segment, used } of engine.segments()) {
    const end = found.get(segment)?.end;
    if (end !== used + SEGMENT_HEADER_BYTES)
      errors.push(`segment ${segment} ends at ${end ?? 'nothing'} on the disk, not at ${used + SEGMENT_HEADER_BYTES}`);
    sum += end ?? 0;
    found.delete(segment);
  }
  const { log_bytes } = engine.usage();
  if (log_bytes !== sum) errors.push(`the log takes ${sum} bytes, not ${log_bytes}`);
  const ahead = [...found.values()].filter(({ records }) => records.length === 0);
  for (const { name, records } of found.values())
    if (records.length > 0) errors.push(`${name} is on the disk, with ${records.length} records, and nobody knows it`);
  const spares = disk.fileNames().filter((name) => isTemporaryName(name) && !name.startsWith(RESERVE_NAME));
  if (ahead.length > 1 || spares.length > sparesMost)
    errors.push(`${ahead.length} segments are made ahead, and ${spares.length} files kept to be used again`);
  return errors;
}
