import { runAsChild } from '../supervisor/child.ts';
import { startManagement } from './management.ts';

runAsChild((config) => startManagement(config));
