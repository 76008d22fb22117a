import { runAsChild } from '../supervisor/child.ts';
import type { SoftwareState } from '../supervisor/messages.ts';
import { startManagement } from './management.ts';

runAsChild('management', (config, extra, supervisor) =>
  startManagement(config, {
    appliances: extra.appliances as readonly string[],
    software: extra.software as SoftwareState,
    supervisor,
  }),
);
