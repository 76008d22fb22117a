import type { Random } from '@antipode/base';
import { BlockError, type BlockErrorCode } from '../port/errors.ts';
import { around, type DeviceDecorator, type DeviceRequest, isWrite } from './decorator.ts';

/** `before`: the device never sees the request. `after`: it is carried out, and an error is answered all the same. */
export type Fault = { readonly when: 'before' | 'after'; readonly code: BlockErrorCode };

/** Decides the fate of a request. */
export type FaultPlan = (request: DeviceRequest) => Fault | undefined;

/** Fails requests as a plan says. */
export function fault(plan: FaultPlan): DeviceDecorator {
  return around((request, run) => {
    const planned = plan(request);
    if (planned === undefined) return run();
    const error = new BlockError(planned.code, `injected ${planned.code} ${planned.when} ${request.operation}`);
    if (planned.when === 'before') throw error;
    const fail = () => {
      throw error;
    };
    const running = run();
    return running instanceof Promise ? running.then(fail, fail) : fail();
  });
}

export interface SeededFaultOptions {
  readonly random: Random;
  /** Chances in [0, 1]. */
  readonly read: number;
  readonly write: number;
  readonly flush: number;
}

/** Faults by chance, the same ones for the same random source. */
export function seededFaults({ random, read, write, flush }: SeededFaultOptions): FaultPlan {
  const chance = ({ operation }: DeviceRequest): number => {
    if (isWrite(operation)) return write;
    return operation === 'flush' ? flush : read;
  };
  return (request) => {
    if (random.fraction() >= chance(request)) return undefined;
    return { when: random.fraction() < 0.5 ? 'before' : 'after', code: 'io_error' };
  };
}

export interface ScriptedFault {
  /** Of the requests that match, the first one to fail, counted from 0, and how many in a row. */
  readonly from: number;
  readonly times: number;
  readonly fault: Fault;
  matches(request: DeviceRequest): boolean;
}

/** Faults by script: what fails is known beforehand. */
export function scriptedFaults(script: readonly ScriptedFault[]): FaultPlan {
  const seen = script.map(() => 0);
  return (request) => {
    let planned: Fault | undefined;
    for (const [i, entry] of script.entries()) {
      if (!entry.matches(request)) continue;
      const count = seen[i]!++;
      if (count >= entry.from && count < entry.from + entry.times) planned ??= entry.fault;
    }
    return planned;
  };
}
