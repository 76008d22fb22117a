import type { Clock } from '@antipode/base';
import { type Access, type BlockDevice, BlockError, isBlockError, type StatusExtent } from '@antipode/blocks';

/** Where a volume is served now; `nowhere`: no appliance has it; `unknown`: it is on its way, or somebody cannot be asked. */
export type Route = BlockDevice | 'nowhere' | 'unknown';

export const routing = {
  retry_ms: 20,
  /**
   * A request waits as it does for a host whose own connection is gone, as long as somebody may still come: longer than the start of an
   * appliance after a crash, and than a process of another release takes to fail and the one of before to come back. An error would
   * turn a file system read-only; a host that would rather have one has a time limit of its own.
   */
  most_ms: 300_000,
  /** How long a host that opens a volume waits for one that is on its way: shorter than the negotiation's deadline. */
  openMost_ms: 5_000,
} as const;

/**
 * A volume wherever in the cluster it is: requests go to the appliance that has it, and when that says that it has it no more, or
 * is started again, they wait and go to the one that has it then. The host's connection stays, and it sees no error. A request
 * that was cut off is made once more: it was not acknowledged, so nothing was promised about its order.
 */
export class RoutedDevice implements BlockDevice {
  readonly #find: () => Promise<Route>;
  readonly #clock: Clock;
  #device: BlockDevice;
  #size: number;
  #access: Access;
  #finding: Promise<void> | undefined;
  #closed = false;

  constructor(device: BlockDevice, find: () => Promise<Route>, clock: Clock) {
    this.#device = device;
    this.#size = device.size();
    this.#access = device.access();
    this.#find = find;
    this.#clock = clock;
  }

  size(): number {
    this.#size = this.#known((device) => device.size(), this.#size);
    return this.#size;
  }

  access(): Access {
    this.#access = this.#known((device) => device.access(), this.#access);
    return this.#access;
  }

  /** While it is on its way it is what it was. */
  #known<T>(ask: (device: BlockDevice) => T, last: T): T {
    try {
      return ask(this.#device);
    } catch (error) {
      if (this.#closed || !isElsewhere(error)) throw error;
      return last;
    }
  }

  read(offset: number, target: Uint8Array): void | Promise<void> {
    return this.#do((device) => device.read(offset, target));
  }

  write(offset: number, data: Uint8Array, fua: boolean): void | Promise<void> {
    return this.#do((device) => device.write(offset, data, fua));
  }

  writeZeroes(offset: number, length: number, fua: boolean): void | Promise<void> {
    return this.#do((device) => device.writeZeroes(offset, length, fua));
  }

  trim(offset: number, length: number, fua: boolean): void | Promise<void> {
    return this.#do((device) => device.trim(offset, length, fua));
  }

  async flush(): Promise<void> {
    await this.#do((device) => device.flush());
  }

  async status(offset: number, length: number, limit: number): Promise<readonly StatusExtent[]> {
    let extents: readonly StatusExtent[] = [];
    await this.#do(async (device) => {
      extents = await device.status(offset, length, limit);
    });
    return extents;
  }

  close(): void {
    this.#closed = true;
    this.#device.close();
  }

  /** What is done within the call stays so: the usual case costs nothing but the call. */
  #do(operation: (device: BlockDevice) => void | Promise<void>): void | Promise<void> {
    const device = this.#device;
    try {
      const pending = operation(device);
      return pending?.then(undefined, (error: unknown) => this.#again(device, operation, error));
    } catch (error) {
      return this.#again(device, operation, error);
    }
  }

  async #again(
    device: BlockDevice,
    operation: (device: BlockDevice) => void | Promise<void>,
    error: unknown,
  ): Promise<void> {
    if (this.#closed || !isElsewhere(error)) throw error;
    // Others may have found it already.
    if (this.#device === device) {
      this.#finding ??= this.#look().finally(() => {
        this.#finding = undefined;
      });
      await this.#finding;
    }
    return this.#do(operation);
  }

  async #look(): Promise<void> {
    const end = this.#clock.monotonic() + routing.most_ms;
    for (;;) {
      const route = await this.#find();
      if (this.#closed) {
        if (typeof route !== 'string') route.close();
        throw new BlockError('closed', 'the device is closed');
      }
      if (typeof route !== 'string') {
        this.#device.close();
        this.#device = route;
        return;
      }
      if (route === 'nowhere') throw new BlockError('not_found', 'the volume was deleted');
      if (this.#clock.monotonic() > end) throw new BlockError('io_error', 'the volume is served by no appliance now');
      await this.#clock.sleep(routing.retry_ms);
    }
  }
}

/** The appliance says that it does not have the volume any more, or is not there. */
const isElsewhere = (error: unknown): boolean =>
  isBlockError(error) && (error.code === 'moved' || error.code === 'closed');
