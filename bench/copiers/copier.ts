import type { Role, Sample } from '../runner/results.ts';
import type { Party } from '../runner/standstill.ts';

/** Something that keeps a copy of a volume or file elsewhere. */
export interface Copier {
  readonly name: string;
  readonly role: Role;
  /** What stands still while another copier is measured. */
  readonly party?: Party;
  /** Makes the source anew, then the first copy, which is what is timed. MiB/s. */
  initial(): Promise<Sample>;
  /** Changes a share (0 to 1) of the source, 4 KiB here and there, then brings the copy up to date, which is what is timed. Seconds. */
  delta?(share: number): Promise<Sample>;
}

/** How long something takes, seconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin_ms = performance.now();
  await work();
  return (performance.now() - begin_ms) / 1000;
}
