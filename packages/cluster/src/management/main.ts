import { runAsChild } from '../supervisor/child.ts';
import { startManagement } from './management.ts';

runAsChild((config, extra) => startManagement(config, extra.appliances as readonly string[]));
