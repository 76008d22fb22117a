import type { BlockDevice } from '../port/device.ts';

/** Wraps a device into one of the same interface. */
export type DeviceDecorator = (inner: BlockDevice) => BlockDevice;

/**
 * Wraps a device in decorators; the first one named is the outermost, the one that a request meets first.
 *
 * @example compose(device, statistics.decorator, limiter.decorator(() => undefined))
 */
export function compose(device: BlockDevice, ...decorators: readonly DeviceDecorator[]): BlockDevice {
  return decorators.reduceRight((inner, decorate) => decorate(inner), device);
}

export type Operation = 'read' | 'write' | 'writeZeroes' | 'trim' | 'flush' | 'status';

/** What a decorator sees of a request before the device does. */
export interface DeviceRequest {
  readonly operation: Operation;
  readonly offset: number;
  readonly length: number;
}

/** Runs a request, or does not; what it answers is the request's answer. */
export type Around = <T>(request: DeviceRequest, run: () => T | Promise<T>) => T | Promise<T>;

/** A decorator from one function that stands around every request; while `aside` says so, reads and writes go past it. */
export function around(hook: Around, aside: () => boolean = () => false): DeviceDecorator {
  return (inner) => ({
    size: () => inner.size(),
    access: () => inner.access(),
    read: (offset, target) =>
      aside()
        ? inner.read(offset, target)
        : hook<void>({ operation: 'read', offset, length: target.length }, () => inner.read(offset, target)),
    write: (offset, data, fua) =>
      aside()
        ? inner.write(offset, data, fua)
        : hook<void>({ operation: 'write', offset, length: data.length }, () => inner.write(offset, data, fua)),
    writeZeroes: (offset, length, fua) =>
      hook<void>({ operation: 'writeZeroes', offset, length }, () => inner.writeZeroes(offset, length, fua)),
    trim: (offset, length, fua) =>
      hook<void>({ operation: 'trim', offset, length }, () => inner.trim(offset, length, fua)),
    flush: async () => hook<void>({ operation: 'flush', offset: 0, length: 0 }, () => inner.flush()),
    status: async (offset, length, limit) =>
      hook({ operation: 'status', offset, length }, () => inner.status(offset, length, limit)),
    close: () => inner.close(),
  });
}

export const isWrite = (operation: Operation): boolean =>
  operation === 'write' || operation === 'writeZeroes' || operation === 'trim';
