// Where the pinned Node and the tools are. Built-ins only; works on Node 20.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const neededMajor = 24;

/** The pinned Node where npm installed it; the running one where it is new enough; otherwise undefined. */
export function pinnedNode() {
  const bundled = join(root, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node');
  if (existsSync(bundled)) return bundled;
  return Number(process.versions.node.split('.')[0]) >= neededMajor ? process.execPath : undefined;
}

/** Runs a program in the project's folder with the caller's terminal; answers its exit code. */
export function run(command, args, stdio = 'inherit') {
  const result = spawnSync(command, args, { cwd: root, stdio });
  if (result.error !== undefined) {
    console.error(`${command}: ${result.error.message}`);
    return 1;
  }
  return result.status ?? 1;
}

/** Runs a tool's script (a path below node_modules) on the pinned Node. */
export function runTool(script, args) {
  const node = pinnedNode();
  if (node === undefined) {
    console.error(
      `Node.js ${neededMajor} is needed, this is ${process.versions.node}, and none is bundled for ${process.platform}-${process.arch}`,
    );
    return 1;
  }
  return run(node, [join(root, 'node_modules', script), ...args]);
}
