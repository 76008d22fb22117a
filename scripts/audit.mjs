// Asks the package registry for known weaknesses of what is shipped. A registry that does not answer such questions is said, in one line.
import { spawnSync } from 'node:child_process';
import { root } from './bundled.mjs';

const { stdout, stderr, error } = spawnSync(
  'npm',
  ['audit', '--omit=dev', '--audit-level=moderate', '--json', '--audit=true'],
  { cwd: root, encoding: 'utf8', timeout: 60_000 },
);
let report;
try {
  report = JSON.parse(stdout);
} catch {
  // Said below.
}
if (report?.metadata?.vulnerabilities === undefined) {
  const why = report?.message ?? error?.message ?? stderr.trim().split('\n')[0] ?? 'no answer';
  console.log(`dependency audit skipped: the registry in use does not answer (${String(why).slice(0, 120)})`);
  process.exit(0);
}
const { info, low, ...serious } = report.metadata.vulnerabilities;
const found = serious.moderate + serious.high + serious.critical;
console.log(`dependency audit: ${found} known weaknesses of moderate or higher severity, ${low + info} lower`);
if (found > 0) {
  for (const [name, { severity, via }] of Object.entries(report.vulnerabilities))
    console.error(`${name}: ${severity}: ${via.map((one) => (typeof one === 'string' ? one : one.title)).join(', ')}`);
  process.exit(1);
}
