import type { Work } from '../load/fio.ts';
import type { CellFacts } from '../runner/results.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

export interface BlockCell extends CellFacts {
  readonly work: Work;
  /** Part of a quick run. */
  readonly quick: boolean;
}

const small = { unit: 'ops/s', cpuUnit: 'µs/op', better: 'more' } as const;
const large = { unit: 'MiB/s', cpuUnit: 's/GiB', better: 'more' } as const;

const depths = [1, 16, 64] as const;
const patterns = [
  { id: 'randread', title: 'random read', work: { pattern: 'randread' } },
  { id: 'randwrite', title: 'random write', work: { pattern: 'randwrite' } },
  { id: 'randrw', title: '70/30 random mix', work: { pattern: 'randrw', reads_percent: 70 } },
] as const;

/** The work of the block group: small blocks at random at three depths, a database's commits, and large blocks in sequence. */
export const blockCells: readonly BlockCell[] = [
  ...patterns.flatMap(({ id, title, work }) =>
    depths.map((depth) => ({
      id: `${id}-${depth}`,
      title: `4 KiB ${title}, QD ${depth}`,
      ...small,
      work: { ...work, block_bytes: 4 * KiB, depth },
      quick: (depth === 16 && id !== 'randrw') || (depth === 1 && id === 'randread'),
    })),
  ),
  {
    id: 'commit',
    title: '4 KiB write + flush, QD 1',
    ...small,
    work: { pattern: 'randwrite', block_bytes: 4 * KiB, depth: 1, flushEach: true },
    quick: true,
  },
  ...(['read', 'write'] as const).map((pattern) => ({
    id: `seq${pattern}`,
    title: `1 MiB sequential ${pattern}, QD 4`,
    ...large,
    work: { pattern, block_bytes: MiB, depth: 4 },
    quick: true,
  })),
];
