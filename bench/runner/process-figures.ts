import { readdirSync, readFileSync } from 'node:fs';

/** Linux counts a process's time in hundredths of a second, whatever the machine. */
const tick_ms = 10;

/** The processes of a group, its leader included; those that ended meanwhile are not there. */
export function processesOfGroup(leader: number): readonly number[] {
  return allPids().filter((pid) => fieldsOf(pid)?.[2] === String(leader));
}

/** Processor time that the processes have used since their start, in user and kernel, milliseconds. */
export function cpu_ms(pids: readonly number[]): number {
  return pids.reduce((total, pid) => {
    const fields = fieldsOf(pid);
    return total + (Number(fields?.[11] ?? 0) + Number(fields?.[12] ?? 0)) * tick_ms;
  }, 0);
}

/** Memory of a process, MiB: proportional (a page that processes share counts once) and resident. Undefined: it has ended. */
export function memoryOf(pid: number): { readonly pss_MiB: number; readonly rss_MiB: number } | undefined {
  const text = read(`/proc/${pid}/smaps_rollup`);
  const pss = /^Pss:\s+(\d+)/m.exec(text ?? '')?.[1];
  const rss = /^Rss:\s+(\d+)/m.exec(text ?? '')?.[1];
  if (pss === undefined || rss === undefined) return undefined;
  return { pss_MiB: Number(pss) / 1024, rss_MiB: Number(rss) / 1024 };
}

/** Proportional memory of processes together, MiB. */
export const pssOf_MiB = (pids: readonly number[]): number =>
  pids.reduce((total, pid) => total + (memoryOf(pid)?.pss_MiB ?? 0), 0);

/** The command line of a process, its arguments apart by spaces. */
export const commandOf = (pid: number): string => (read(`/proc/${pid}/cmdline`) ?? '').replaceAll('\0', ' ').trim();

/** A process whose command line holds a text, such as a directory that no other run has. */
export const findProcess = (text: string): number | undefined => allPids().find((pid) => commandOf(pid).includes(text));

const allPids = (): readonly number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);

/** The fields of /proc/PID/stat after the name, which may hold anything: state, parent, group, ... */
function fieldsOf(pid: number): readonly string[] | undefined {
  const text = read(`/proc/${pid}/stat`);
  return text?.slice(text.lastIndexOf(')') + 2).split(' ');
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // It has ended.
  }
}
