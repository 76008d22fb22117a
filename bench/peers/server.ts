import type { ChildProcess } from 'node:child_process';
import type { Bench } from '../runner/bench.ts';
import { signalGroup } from '../runner/children.ts';
import { cpu_ms, processesOfGroup } from '../runner/process-figures.ts';
import type { Party } from '../runner/standstill.ts';

/** A server under measurement: its processes are one process group. */
export class Server implements Party {
  readonly name: string;
  /** Version and settings, for the notes of a report. */
  readonly about: string;
  readonly child: ChildProcess;
  readonly #bench: Bench;

  constructor(bench: Bench, facts: { readonly name: string; readonly about: string; readonly child: ChildProcess }) {
    this.name = facts.name;
    this.about = facts.about;
    this.child = facts.child;
    this.#bench = bench;
  }

  get pids(): readonly number[] {
    return processesOfGroup(this.child.pid ?? -1);
  }

  /** Processor time of all its processes since their start, milliseconds. */
  get cpu_ms(): number {
    return cpu_ms(this.pids);
  }

  /** Stands still: its background work is not done, nor paid for, while another server is measured. */
  freeze(): void {
    signalGroup(this.child, 'SIGSTOP');
  }

  thaw(): void {
    signalGroup(this.child, 'SIGCONT');
  }

  stop(): Promise<void> {
    return this.#bench.children.stop(this.child);
  }
}
