import type { Clock } from '@antipode/base';
import { around, type DeviceDecorator, type DeviceRequest } from './decorator.ts';

export interface DelayOptions {
  readonly clock: Clock;
  /** Milliseconds a request is held back before it reaches the device. Below or at zero: not at all. */
  delay_ms(request: DeviceRequest): number;
}

/**
 * Holds requests back. A held request is ordered when it reaches the device, not at the call; its buffer stays the
 * caller's to leave alone until the answer, as the port says.
 */
export function delay(options: DelayOptions): DeviceDecorator {
  return around((request, run) => {
    const wait_ms = options.delay_ms(request);
    return wait_ms > 0 ? options.clock.sleep(wait_ms).then(run) : run();
  });
}
