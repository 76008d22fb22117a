import { statfsSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { version } from '../peers/antipode.ts';

/** What a figure is worth nothing without. */
export interface Machine {
  readonly antipode: string;
  readonly node: string;
  readonly kernel: string;
  readonly processors: number;
  readonly processor: string;
  readonly memory_GiB: number;
  readonly fileSystem: string;
  readonly loadAtStart: number;
}

/** Names of file systems by the magic number that statfs answers. */
const fileSystems = new Map([
  [0xef53, 'ext4'],
  [0x9123683e, 'btrfs'],
  [0x58465342, 'xfs'],
  [0x01021994, 'tmpfs'],
  [0x794c7630, 'overlay'],
  [0x2fc12fc1, 'zfs'],
]);

export const fileSystemOf = (dir: string): string => {
  const { type } = statfsSync(dir);
  return fileSystems.get(type) ?? `0x${type.toString(16)}`;
};

export function describeMachine(dir: string): Machine {
  return {
    antipode: version(),
    node: process.version,
    kernel: release(),
    processors: cpus().length,
    processor: cpus()[0]?.model ?? 'unknown',
    memory_GiB: Math.round(totalmem() / 2 ** 30),
    fileSystem: fileSystemOf(dir),
    loadAtStart: loadavg()[0] ?? 0,
  };
}

export const machineText = (machine: Machine): string =>
  `antipode ${machine.antipode}, Node ${machine.node}, Linux ${machine.kernel}, ${machine.processors} x ${machine.processor}, ` +
  `${machine.memory_GiB} GiB, ${machine.fileSystem}, load ${machine.loadAtStart.toFixed(1)} before\n`;
