import { runAsChild } from '../supervisor/child.ts';
import { startDataPlane } from './data-plane.ts';

runAsChild((config) => startDataPlane(config));
