// Runs every check in order on the pinned Node and stops at the first that fails. Arguments go to the test runner.
import { runTool } from './bundled.mjs';

const checks = [
  ['lint and format', '@biomejs/biome/bin/biome', ['check', '.']],
  ['promises', 'eslint/bin/eslint.js', ['.']],
  ['types', 'typescript/bin/tsc', ['-b']],
  ['tests', 'vitest/vitest.mjs', ['run', ...process.argv.slice(2)]],
];

for (const [name, script, args] of checks) {
  console.log(`== ${name}`);
  const code = runTool(script, args);
  if (code !== 0) {
    console.error(`FAILED: ${name} (exit ${code})`);
    process.exit(code);
  }
}
