import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Programs that the bench uses when they are there, and the Debian packages that hold them. */
const packages = {
  fio: 'fio',
  'qemu-nbd': 'qemu-utils',
  'qemu-img': 'qemu-utils',
  nbdkit: 'nbdkit',
  nbdcopy: 'libnbd-bin',
  rsync: 'rsync',
  btrfs: 'btrfs-progs',
  'mkfs.btrfs': 'btrfs-progs',
  losetup: 'mount',
  mount: 'mount',
} as const;
export type Tool = keyof typeof packages;

/** Where a program is; undefined when this machine has none. Administrators' folders count although they may not be in PATH. */
export function findTool(tool: Tool): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, tool)).find(isExecutable);
}

/** The line that says what is missing among these programs; undefined when nothing is. */
export function missing(what: string, tools: readonly Tool[]): string | undefined {
  const lacking = tools.filter((tool) => findTool(tool) === undefined);
  if (lacking.length === 0) return undefined;
  const names = [...new Set(lacking.map((tool) => packages[tool]))];
  return `${what}: no ${lacking.join(', ')} on this machine (Debian package ${names.join(', ')})`;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
