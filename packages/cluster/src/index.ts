export { type ApplianceReport, checkDataDir, type DataDirReport } from './check/check-data-dir.ts';
export type { CatalogReport } from './check/compare-catalog.ts';
export type { ClusterConfig, HostPort } from './config.ts';
export { requestRebuild } from './management/rebuild-request.ts';
export { type BuildOptions, buildPackage, newPackageKeys, packageOf } from './software/build-package.ts';
export { trustKey } from './software/trusted-keys.ts';
export { DataDirInUse } from './supervisor/data-dir.ts';
export { type ClusterReady, runSupervisor, type SupervisorOptions } from './supervisor/supervisor.ts';
