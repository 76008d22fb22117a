export { connectNbd, type NbdClient, type NbdClientSetting, type NbdExportFlags } from './nbd/client.ts';
export { ClientDevice } from './nbd/client-device.ts';
export type { NbdClientTls, NbdConnectSetting } from './nbd/client-negotiation.ts';
export type { ErrnoName } from './nbd/errno.ts';
export type { ExportEntry, ExportSource, NbdClientIdentity, OpenExport } from './nbd/exports.ts';
export { isNbdError, NbdError } from './nbd/nbd-error.ts';
export {
  type NbdConnectionEvent,
  type NbdConnectionInfo,
  type NbdServer,
  type NbdServerLimits,
  type NbdServerSetting,
  startNbdServer,
} from './nbd/server.ts';
export type { NbdTlsSetting } from './nbd/tls.ts';
