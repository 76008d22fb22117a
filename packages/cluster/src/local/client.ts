import type { Clock, Timer } from '@antipode/base';
import { BlockError, type BlockErrorCode } from '@antipode/blocks';
import type { DataPlane, DataPlaneEvent } from './api.ts';
import { type LocalSocket, readLines } from './lines.ts';
import {
  localLine_bytes,
  localProtocolVersion,
  methods,
  oldestLocalProtocolVersion,
  type WireError,
} from './methods.ts';

/** The data plane process is not there now; it comes back, and what was asked may be asked again. */
export class DataPlaneAway extends Error {
  override name = 'DataPlaneAway';
}

export interface RemoteDataPlane extends DataPlane {
  /** Resolves at the first connection. */
  ready(): Promise<void>;
  /** It is there now. */
  isUp(): boolean;
  close(): void;
}

const reconnect_ms = 50;
/** How long a call waits for a data plane that is being started again. */
const awayMost_ms = 5_000;

/** A data plane in another process, reached through `dial`. Reconnects by itself; calls made while it is away reject with {@link DataPlaneAway}. */
export function connectDataPlane(dial: () => LocalSocket, clock: Clock): RemoteDataPlane {
  const listeners = new Set<(event: DataPlaneEvent) => void>();
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  let socket: LocalSocket | undefined;
  let greeted = false;
  let nextId = 1;
  let closed = false;
  let timer: Timer | undefined;
  let markReady: () => void = () => undefined;
  const readyOnce = new Promise<void>((resolve) => {
    markReady = resolve;
  });
  const emit = (event: DataPlaneEvent) => {
    for (const listener of listeners) listener(event);
  };

  const open = () => {
    const attempt = dial();
    attempt.on('connect', () => attempt.write(`${JSON.stringify({ hello: localProtocolVersion })}\n`));
    attempt.on('error', () => attempt.destroy());
    attempt.on('close', () => {
      const wasUp = greeted && socket === attempt;
      socket = undefined;
      greeted = false;
      for (const call of waiting.values()) call.reject(new DataPlaneAway('the data plane is restarting'));
      waiting.clear();
      if (wasUp) emit({ kind: 'down' });
      if (!closed) timer = clock.after(reconnect_ms, open);
    });
    readLines(attempt, localLine_bytes, (line) => {
      const message = JSON.parse(line) as {
        hello?: number;
        id?: number;
        result?: unknown;
        error?: WireError;
        event?: DataPlaneEvent;
      };
      if (message.hello !== undefined) {
        if (message.hello < oldestLocalProtocolVersion) return void attempt.destroy();
        socket = attempt;
        greeted = true;
        markReady();
        return emit({ kind: 'up' });
      }
      if (message.event !== undefined) return emit(message.event);
      const call = message.id === undefined ? undefined : waiting.get(message.id);
      if (call === undefined || message.id === undefined) return;
      waiting.delete(message.id);
      if (message.error === undefined) call.resolve(message.result ?? undefined);
      else call.reject(fromWire(message.error));
    });
  };
  open();

  /** Resolves when the data plane is there; a restart takes a moment, and nobody is sent away for that. */
  const connected = (): Promise<void> =>
    new Promise((resolve, reject) => {
      if (greeted) return resolve();
      const stop = () => {
        timeout.cancel();
        listeners.delete(listener);
      };
      const listener = (event: DataPlaneEvent) => {
        if (event.kind !== 'up') return;
        stop();
        resolve();
      };
      const timeout = clock.after(awayMost_ms, () => {
        stop();
        reject(new DataPlaneAway('the data plane is not running'));
      });
      listeners.add(listener);
    });

  const ask = (method: string, params: readonly unknown[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (socket === undefined || !greeted) return reject(new DataPlaneAway('the data plane is not running'));
      const id = nextId++;
      waiting.set(id, { resolve, reject });
      // A trailing undefined is an absent argument; JSON would make it null.
      const given = [...params];
      while (given.length > 0 && given.at(-1) === undefined) given.pop();
      socket.write(`${JSON.stringify({ id, method, params: given })}\n`);
    });
  const invoke = async (method: string, params: readonly unknown[]): Promise<unknown> => {
    if (!greeted) await connected();
    return ask(method, params);
  };
  const calls = Object.fromEntries(methods.map((method) => [method, (...params: unknown[]) => invoke(method, params)]));
  return {
    ...(calls as unknown as Omit<DataPlane, 'onEvent'>),
    onEvent(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    ready: () => readyOnce,
    isUp: () => greeted,
    close() {
      closed = true;
      timer?.cancel();
      socket?.destroy();
    },
  };
}

function fromWire(error: WireError): Error {
  return error.name === 'BlockError'
    ? new BlockError(error.code as BlockErrorCode, error.message)
    : new Error(error.message);
}
