import { numbersFrom } from './contents.ts';

/** A file of the image. Its number is its identity for ever; its version is the generation that wrote it last. */
export interface PlannedFile {
  readonly kind: 'file';
  readonly id: number;
  /** Eight letters, a dot, three letters at most, lower case. */
  readonly name: string;
  readonly path: string;
  readonly size_bytes: number;
  readonly born: number;
  readonly version: number;
}

export interface PlannedDirectory {
  readonly kind: 'directory';
  readonly name: string;
  readonly path: string;
  readonly born: number;
  readonly children: readonly (PlannedFile | PlannedDirectory)[];
}

export interface TreeOptions {
  /** Bytes of the volume; about half of them become files. */
  readonly size_bytes: number;
  readonly seed: number;
  /** 0: as first written; each later one rewrites some files and adds a directory with a few more. */
  readonly generation: number;
}

/** Generations that surely fit. */
export const generationsMost = 12;
const firstFillShare = 0.4;
const laterFillShare = 0.02;
/** One file in this many is rewritten by a generation. */
const rewrittenOneIn = 12;

const departments = ['docs', 'mail', 'photos', 'ledger'] as const;
const years = ['y2023', 'y2024', 'y2025'] as const;

/** The files of one generation. What earlier generations placed keeps its place, size and number. */
export function planTree(options: TreeOptions): PlannedDirectory {
  const planner = new Planner(options);
  const firstBudget = options.size_bytes * firstFillShare;
  const first = departments.map((department) =>
    planner.directory(
      department,
      0,
      years.map((year) =>
        planner.directory(
          `${department}/${year}`,
          0,
          planner.files(`${department}/${year}`, 0, firstBudget / departments.length / years.length),
        ),
      ),
    ),
  );
  const later = Array.from({ length: options.generation }, (_, i) => {
    const name = `gen${i + 1}`;
    return planner.directory(name, i + 1, planner.files(name, i + 1, options.size_bytes * laterFillShare));
  });
  return { kind: 'directory', name: '', path: '', born: 0, children: [...first, ...later] };
}

class Planner {
  readonly #options: TreeOptions;
  #files = 0;

  constructor(options: TreeOptions) {
    this.#options = options;
  }

  directory(path: string, born: number, children: PlannedDirectory['children']): PlannedDirectory {
    return { kind: 'directory', name: path.split('/').at(-1) ?? '', path, born, children };
  }

  /** Many small files and a few large ones, until the budget is used. */
  files(directory: string, born: number, budget_bytes: number): PlannedFile[] {
    const next = numbersFrom(this.#options.seed ^ Math.imul(this.#files + 1, 0x27d4eb2f));
    const large_bytes = Math.max(64 * 1024, budget_bytes / 4);
    const found: PlannedFile[] = [];
    let left_bytes = budget_bytes;
    while (left_bytes > 0 && found.length < 64) {
      const isLarge = found.length % 4 === 3;
      const wanted = isLarge
        ? large_bytes / 2 + (next() % (large_bytes / 2))
        : 1 + (next() % Math.min(48 * 1024, large_bytes));
      const size_bytes = Math.max(1, Math.floor(Math.min(wanted, left_bytes)));
      left_bytes -= size_bytes;
      const id = this.#files;
      this.#files += 1;
      const name =
        `${isLarge ? 'store' : 'note'}${found.length % 10}${String.fromCharCode(97 + Math.floor(found.length / 10))}`.slice(
          -8,
        );
      const full = `${name}.${isLarge ? 'dat' : 'txt'}`;
      found.push({
        kind: 'file',
        id,
        name: full,
        path: `${directory}/${full}`,
        size_bytes,
        born,
        version: this.#versionOf(id, born),
      });
    }
    return found;
  }

  #versionOf(id: number, born: number): number {
    let version = born;
    for (let generation = born + 1; generation <= this.#options.generation; generation += 1)
      if (numbersFrom(this.#options.seed ^ Math.imul(id + 3, 0x165667b1) ^ generation)() % rewrittenOneIn === 0)
        version = generation;
    return version;
  }
}
