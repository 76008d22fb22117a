import type { Random } from '@antipode/base';
import { type DiskFaults, diskError } from './simulated-disk.ts';

/** Chances in [0, 1] per call. */
export interface FaultRates {
  readonly write_error?: number;
  readonly sync_error?: number;
  readonly read_error?: number;
  readonly flipped_read?: number;
}

/** Faults of a disk that fails now and then, the same ones for the same seed. */
export function seededDiskFaults(random: Random, rates: FaultRates): DiskFaults {
  const happens = (rate: number | undefined) => rate !== undefined && random.fraction() < rate;
  return {
    write: () => (happens(rates.write_error) ? diskError('EIO') : undefined),
    sync: () => (happens(rates.sync_error) ? diskError('EIO') : undefined),
    read: (_name, _offset, target) => {
      if (happens(rates.read_error)) return diskError('EIO');
      if (target.length > 0 && happens(rates.flipped_read)) {
        target[Math.floor(random.fraction() * target.length)]! ^= 1 << Math.floor(random.fraction() * 8);
      }
      return undefined;
    },
  };
}
