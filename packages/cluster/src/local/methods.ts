import type { DataPlane } from './api.ts';

/**
 * The local protocol between management and a data plane: a Unix socket in the cluster's data directory, one JSON value a line.
 * Requests `{id, method, params}`, answers `{id, result}` or `{id, error}`, events `{event}`; the first line each way is
 * `{hello}` with the versions spoken [C9.1, C9.4]. Bytes of volumes never travel here.
 */
export const localProtocolVersion = 1;
export const oldestLocalProtocolVersion = 1;

/** Longest line taken: a list of every point and volume fits, runaway input does not. */
export const localLine_bytes = 256 * 1024 * 1024;

export type Method = Exclude<keyof DataPlane, 'onEvent'>;

/** Every method by name: what is not listed cannot be called. The type makes the list complete. */
const listed: Readonly<Record<Method, true>> = {
  createVolume: true,
  deleteVolume: true,
  resizeVolume: true,
  changeVolume: true,
  volumes: true,
  volume: true,
  volumeUsage: true,
  bytesSince: true,
  freeze: true,
  dropPoint: true,
  changePoint: true,
  hold: true,
  release: true,
  points: true,
  pointsOf: true,
  point: true,
  fork: true,
  restore: true,
  digest: true,
  createHalf: true,
  changeHalf: true,
  removeHalf: true,
  halves: true,
  half: true,
  settled: true,
  tombstone: true,
  advanceBase: true,
  resetBase: true,
  abandonStage: true,
  seal: true,
  unseal: true,
  refuseProposal: true,
  startTest: true,
  stopTest: true,
  promote: true,
  demote: true,
  usage: true,
  writeState: true,
  addresses: true,
  appliances: true,
  unitOf: true,
  depart: true,
  stay: true,
  departed: true,
  departures: true,
  adopt: true,
  settleArrival: true,
  forgetArrival: true,
  arrivals: true,
  move: true,
  moveProgress: true,
  cancelMove: true,
  changedChunks: true,
  ioCounters: true,
  hostCounters: true,
  setAccess: true,
  setLimits: true,
  setPeers: true,
  admit: true,
  ship: true,
  cancelShip: true,
  progress: true,
  probePeer: true,
  startScrub: true,
  scrubStatus: true,
  stopScrub: true,
};

export const isMethod = (name: unknown): name is Method => typeof name === 'string' && Object.hasOwn(listed, name);
export const methods = Object.keys(listed) as readonly Method[];

export interface WireError {
  readonly name: string;
  readonly code?: string;
  readonly message: string;
}

export type ToDataPlane =
  | { readonly hello: number }
  | { readonly id: number; readonly method: Method; readonly params: readonly unknown[] };
export type FromDataPlane =
  | { readonly hello: number }
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: WireError }
  | { readonly event: unknown };
