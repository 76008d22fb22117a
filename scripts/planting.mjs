// Plants bugs, one after the other, in copies of some packages: the working tree is not touched.
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const root = join(import.meta.dirname, '..');

/**
 * Each bug: `name`, `what` is wrong, the `file`, the text that is `right` and the one that is `wrong`; `also` has more pairs of them, of the
 * same file or of the one that is named third. A text that is right must be there once, or with `all` at least once. `try` answers whether anything found the bug. Bugs may be
 * named on the command line.
 */
export async function plantEach({ bugs, packages, parts, files = [], try: tried }) {
  const wanted = process.argv.slice(2);
  let survived = 0;
  for (const bug of bugs.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
    const copy = copyOf(packages, parts, files);
    try {
      plant(copy, bug);
      if (!(await tried(copy, bug))) survived += 1;
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  }
  process.exitCode = survived === 0 ? 0 : 1;
}

/** A copy of packages that finds its own packages, and what is installed beside the tree. */
function copyOf(packages, parts, files) {
  const copy = mkdtempSync(join(tmpdir(), 'antipode-planted-'));
  for (const file of ['package.json', ...files]) cpSync(join(root, file), join(copy, file), { recursive: true });
  const own = join(copy, 'node_modules', '@antipode');
  mkdirSync(own, { recursive: true });
  for (const name of readdirSync(join(root, 'node_modules')))
    if (name !== '@antipode') symlinkSync(join(root, 'node_modules', name), join(copy, 'node_modules', name));
  for (const name of packages) {
    for (const part of parts) {
      const from = join(root, 'packages', name, part);
      if (existsSync(from)) cpSync(from, join(copy, 'packages', name, part), { recursive: true });
    }
    symlinkSync(join(copy, 'packages', name), join(own, name));
  }
  return copy;
}

function plant(copy, { file, right, wrong, name, also = [], all }) {
  for (const [from, to, where = file] of [[right, wrong], ...also]) {
    const path = join(copy, where);
    const text = readFileSync(path, 'utf8');
    const found = text.split(from).length - 1;
    if (found === 0 || (found > 1 && !all)) throw new Error(`${name}: its place in ${where} is there ${found} times`);
    writeFileSync(
      path,
      text.replaceAll(from, () => to),
    );
  }
}
