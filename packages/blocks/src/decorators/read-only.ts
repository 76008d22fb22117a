import { BlockError } from '../port/errors.ts';
import { around, type DeviceDecorator, isWrite } from './decorator.ts';

/** Refuses everything that changes bytes with `read_only`, whatever the device below would say. */
export const readOnly: DeviceDecorator = (inner) => {
  const guarded = around((request, run) => {
    if (isWrite(request.operation)) throw new BlockError('read_only', 'this device may only be read');
    return run();
  })(inner);
  return { ...guarded, access: () => 'read_only' };
};
