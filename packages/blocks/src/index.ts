export type { CheckpointStore } from './embedded/checkpoint-store.ts';
export type { Disk, DiskFile } from './embedded/disk.ts';
export { lmdbCheckpointStore } from './embedded/lmdb-checkpoint-store.ts';
export type { LogLimits } from './embedded/log/limits.ts';
export { openNodeDisk } from './embedded/node-disk.ts';
export * from './port/device.ts';
export * from './port/engine.ts';
export * from './port/errors.ts';
export * from './port/types.ts';
