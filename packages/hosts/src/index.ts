export type { ErrnoName } from './nbd/errno.ts';
export type { ExportEntry, ExportSource, NbdClientIdentity, OpenExport } from './nbd/exports.ts';
export {
  type NbdConnectionEvent,
  type NbdConnectionInfo,
  type NbdServer,
  type NbdServerLimits,
  type NbdServerSetting,
  startNbdServer,
} from './nbd/server.ts';
export type { NbdTlsSetting } from './nbd/tls.ts';
