import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A Python that knows libnbd: the distribution's own has its modules, one put before it in the path may not. */
export const pythonWithLibnbd: string | undefined = ['python3', '/usr/bin/python3'].find((python) => {
  try {
    execFileSync(python, ['-c', 'import nbd'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
});

/** Runs a script with libnbd's Python binding; it asserts by itself, `uri` names the export. */
export const runNbdScript = (uri: string, script: string) =>
  run(pythonWithLibnbd ?? 'python3', ['-c', `import nbd, errno, sys\nuri = ${JSON.stringify(uri)}\n${script}`], {
    timeout: 120_000,
  });
