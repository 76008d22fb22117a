import { execFile, spawnSync } from 'node:child_process';

/** Whether a program of another project is on this machine; where it is not, the tests that need it say so and are skipped. */
export function hasTool(name: string): boolean {
  const found = spawnSync(name, ['--version'], { stdio: 'ignore', timeout: 10_000 }).error === undefined;
  if (!found) console.warn(`${name} is not installed: tests with it are skipped`);
  return found;
}

/** The Python that has `module`, the system's own included; nothing when none has. */
export function pythonWith(module: string): string | undefined {
  const pythons = ['python3', '/usr/bin/python3'];
  const found = pythons.find(
    (python) => spawnSync(python, ['-c', `import ${module}`], { stdio: 'ignore', timeout: 10_000 }).status === 0,
  );
  if (found === undefined) console.warn(`no Python has the module ${module}: tests with it are skipped`);
  return found;
}

/** Runs a program to its end, without a shell; rejects with what it said when it fails. */
export function run(name: string, args: readonly string[], options: { cwd?: string } = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(name, [...args], { ...options, timeout: 45_000, maxBuffer: 2 ** 24 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${name} ${args.join(' ')}: ${error.message}\n${stdout}\n${stderr}`));
    });
  });
}
