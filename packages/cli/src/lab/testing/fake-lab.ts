// Runs a lab of stand-in sites until it is killed: `fake-lab.ts DIR BASE_PORT`.
import { fileURLToPath } from 'node:url';
import { systemClock } from '@antipode/base';
import { startLab } from '../lab.ts';

const [dir = '', basePort = ''] = process.argv.slice(2);
const lab = await startLab({
  dir,
  basePort: Number(basePort),
  logLevel: 'info',
  entry: fileURLToPath(new URL('./fake-site.ts', import.meta.url)),
  clock: systemClock,
  log: (line) => console.error(line),
});
process.send?.({ pids: lab.status().sites.map((site) => site.pid) });
