import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const marker = (dataDir: string): string => join(dataDir, 'recover');

/** Asks for the catalog to be rebuilt at the next start. */
export const requestRebuild = (dataDir: string): void => writeFileSync(marker(dataDir), '', { mode: 0o600 });
export const rebuildRequested = (dataDir: string): boolean => existsSync(marker(dataDir));
export const rebuildDone = (dataDir: string): void => rmSync(marker(dataDir), { force: true });
