import { runAsChild } from '../supervisor/child.ts';
import { startDataPlane } from './data-plane.ts';

runAsChild('dataplane', (config, extra) =>
  startDataPlane(config, extra as unknown as Parameters<typeof startDataPlane>[1]),
);
