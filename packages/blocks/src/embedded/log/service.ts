import type { Clock, Timer } from '@antipode/base';
import { BlockError } from '../../port/errors.ts';
import type { Disk } from '../disk.ts';
import { messageOf, reasonOf } from './disk-errors.ts';
import type { LogLimits } from './limits.ts';
import type { Reserve } from './reserve.ts';
import type { LogRecord, LogState } from './types.ts';

export interface ServiceDependencies {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly limits: LogLimits;
  readonly reserve: Reserve;
  onState(state: LogState): void;
  /** Gives up files that are kept for reuse; false when there are none. */
  dropSpares(): boolean;
}

/**
 * What the log may take now, and the way back to taking everything: space is looked at before data is ordered, the
 * reserve is given up for what must be recorded and taken again when there is room [C6.5], and a stopped log is tried
 * again after growing waits.
 */
export class Service {
  private readonly deps: ServiceDependencies;
  private readonly retryWrites: () => void;
  private state: LogState = { kind: 'running' };
  private space_budget_bytes = 0;
  private retry_ms: number;
  private timer: Timer | undefined;
  private restoring = false;
  private closed = false;

  /** `retryWrites` is called while the log is stopped, to try once more. */
  constructor(deps: ServiceDependencies, retryWrites: () => void) {
    this.deps = deps;
    this.retryWrites = retryWrites;
    this.retry_ms = deps.limits.retry_ms_min;
  }

  current(): LogState {
    return this.state;
  }

  isStopped(): boolean {
    return this.state.kind === 'stopped';
  }

  /** Throws what a record of this kind and size is refused with, before it is ordered. */
  admit(record: LogRecord, bytes: number): void {
    if (this.closed) throw new BlockError('closed', 'the log is closed');
    if (this.state.kind === 'stopped') throw this.refusal();
    if (record.type !== 'data') return;
    if (this.state.kind === 'no_space') throw this.refusal();
    this.space_budget_bytes -= bytes;
    if (this.space_budget_bytes >= 0) return;
    const { free_bytes } = this.deps.disk.space();
    const scarce = free_bytes < this.deps.limits.free_bytes_min;
    // Space of files just given up comes back a moment later; the margin lasts until then.
    if (scarce && !this.deps.dropSpares()) {
      this.enter({ kind: 'no_space', detail: `${free_bytes} bytes are free` });
      this.scheduleRetry();
      throw this.refusal();
    }
    this.space_budget_bytes = this.deps.limits.space_check_bytes - bytes;
  }

  refusal(): BlockError {
    switch (this.state.kind) {
      case 'no_space':
        return new BlockError('no_space', `no space: ${this.state.detail}`);
      case 'stopped':
        return new BlockError(this.state.reason, `writes are stopped: ${this.state.detail}`);
      case 'running':
        return new BlockError('io_error', 'the log was interrupted');
    }
  }

  /** Nothing can be written now; {@link retryWrites} comes after a wait. */
  stop(error: unknown): void {
    this.enter({ kind: 'stopped', reason: reasonOf(error), detail: messageOf(error) });
    this.scheduleRetry();
  }

  /** Writing works again after a stop. */
  resume(): void {
    this.retry_ms = this.deps.limits.retry_ms_min;
    if (this.deps.reserve.isHeld()) return this.enter({ kind: 'running' });
    this.enter({ kind: 'no_space', detail: 'the reserve is in use' });
    this.scheduleRetry();
  }

  /** Gives up the reserve for something that must be recorded; false when it is given up already. */
  releaseReserve(error: unknown): boolean {
    if (!this.deps.reserve.release()) return false;
    if (this.state.kind === 'running') this.enter({ kind: 'no_space', detail: messageOf(error) });
    this.scheduleRetry();
    return true;
  }

  /** Takes the reserve at start, or says that it could not. */
  async openReserve(): Promise<void> {
    if (this.deps.reserve.isHeld()) return;
    this.enter({ kind: 'no_space', detail: 'the reserve could not be taken yet' });
    await this.restoreReserve();
  }

  /** Space was freed: does not wait for the next attempt. */
  spaceMayHaveReturned(): void {
    if (this.state.kind === 'running' || this.closed) return;
    this.timer?.cancel();
    this.timer = undefined;
    this.attempt();
  }

  close(): void {
    this.closed = true;
    this.timer?.cancel();
  }

  private attempt(): void {
    if (this.closed || this.state.kind === 'running') return;
    if (this.state.kind === 'no_space') void this.restoreReserve();
    else this.retryWrites();
  }

  private scheduleRetry(): void {
    if (this.closed || this.timer !== undefined) return;
    this.timer = this.deps.clock.after(this.retry_ms, () => {
      this.timer = undefined;
      this.attempt();
    });
    this.retry_ms = Math.min(this.retry_ms * 2, this.deps.limits.retry_ms_max);
  }

  private async restoreReserve(): Promise<void> {
    if (this.restoring) return;
    this.restoring = true;
    const { reserve, limits, disk } = this.deps;
    try {
      const needed = limits.free_bytes_min + (reserve.isHeld() ? 0 : reserve.size());
      if (disk.space().free_bytes >= needed) {
        await reserve.rebuild();
        this.retry_ms = limits.retry_ms_min;
        this.space_budget_bytes = 0;
        if (this.state.kind === 'no_space') this.enter({ kind: 'running' });
      }
    } catch {
      // Not enough room after all: the state stays, and the next attempt comes by itself.
    } finally {
      this.restoring = false;
    }
    if (this.state.kind === 'no_space') this.scheduleRetry();
  }

  private enter(state: LogState): void {
    const same = state.kind === this.state.kind && state.kind !== 'stopped';
    this.state = state;
    if (!same) this.deps.onState(state);
  }
}
