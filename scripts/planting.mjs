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
 * named on the command line; `--check` plants none, and looks whether each has its place.
 */
export async function plantEach({ bugs, packages, parts, files = [], try: tried }) {
  const wanted = process.argv.slice(2);
  if (wanted.includes('--check')) {
    const missing = bugs.flatMap((bug) => [...placesOf(root, bug)].flatMap((place) => faultOf(bug, place) ?? []));
    for (const line of missing) console.log(line);
    process.exitCode = missing.length === 0 ? 0 : 1;
    return;
  }
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

function plant(copy, bug) {
  // One after the other: two places may be in one file.
  for (const place of placesOf(copy, bug)) {
    const fault = faultOf(bug, place);
    if (fault !== undefined) throw new Error(fault);
    writeFileSync(
      join(copy, place.file),
      place.text.replaceAll(place.from, () => place.to),
    );
  }
}

function* placesOf(tree, { file, right, wrong, also = [] }) {
  for (const [from, to, where = file] of [[right, wrong], ...also])
    yield { file: where, text: readFileSync(join(tree, where), 'utf8'), from, to };
}

/** What is wrong with a place: it must be there, and be the only one unless all of them are meant. */
function faultOf({ name, all }, { file, text, from }) {
  const found = text.split(from).length - 1;
  return found === 1 || (found > 1 && all) ? undefined : `${name}: its place in ${file} is there ${found} times`;
}
