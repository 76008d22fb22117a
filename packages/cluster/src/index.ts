export { type ApplianceReport, checkDataDir, type DataDirReport } from './check/check-data-dir.ts';
export type { CatalogReport } from './check/compare-catalog.ts';
export type { ClusterConfig, HostPort } from './config.ts';
export { requestRebuild } from './management/rebuild-request.ts';
export { DataDirInUse } from './supervisor/data-dir.ts';
export { type ClusterReady, runSupervisor, type SupervisorOptions } from './supervisor/supervisor.ts';
