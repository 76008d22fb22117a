import { AntipodeCopier } from '../copiers/antipode.ts';
import { BtrfsCopier } from '../copiers/btrfs.ts';
import type { Copier } from '../copiers/copier.ts';
import { NbdcopyCopier } from '../copiers/nbdcopy.ts';
import { RsyncCopier } from '../copiers/rsync.ts';
import { startDirectPair, startLab } from '../load/clusters.ts';
import { settleDisk } from '../load/export-load.ts';
import type { Bench } from '../runner/bench.ts';
import type { CellFacts, GroupResult, Sample } from '../runner/results.ts';
import type { Cell } from '../runner/rounds.ts';
import { alone } from '../runner/standstill.ts';
import { missing } from '../runner/tools.ts';
import { type Group, isWanted } from './group.ts';

/** A round writes the volume several times over. */
const roundsMost = { quick: 2, full: 3 } as const;

interface CopyCell extends CellFacts {
  readonly of: (copier: Copier) => (() => Promise<Sample>) | undefined;
}

const cells: readonly CopyCell[] = [
  {
    ...{ id: 'initial', title: 'initial sync', unit: 'MiB/s', cpuUnit: 's/GiB', better: 'more' },
    of: (copier) => () => copier.initial(),
  },
  ...[0, 1, 4].map(
    (percent): CopyCell => ({
      ...{ id: `delta-${percent}`, title: `delta sync, ${percent} % changed`, unit: 's', cpuUnit: 's', better: 'less' },
      of: (copier) => copier.delta && (() => copier.delta?.(percent / 100) ?? Promise.reject(new Error('no delta'))),
    }),
  ),
];

export const replication: Group = {
  name: 'replication',
  about:
    'the first copy of a volume and its deltas between two clusters, against nbdcopy, rsync and btrfs send | receive',
  cells: cells.map(({ title }) => title),
  async run(bench): Promise<GroupResult> {
    const { size, quick } = bench.settings;
    const nothing = { group: 'replication', notes: [], skipped: [], cells: [], figures: [] };
    const lacking = missing('replication', ['fio']);
    if (lacking !== undefined) return { ...nothing, skipped: [lacking] };
    // A delta needs the first copy: with any cell of the group, the one for that is measured as well.
    const wanted = cells.filter((cell) => cell.id === 'initial' || isWanted(bench, cell));
    if (!cells.some((cell) => isWanted(bench, cell))) return nothing;
    const { copiers, skipped } = await prepare(bench);
    const parties = copiers.flatMap(({ party }) => party ?? []);
    const measured = wanted.map(
      ({ of, ...facts }): Cell => ({
        ...facts,
        contenders: copiers.flatMap((copier) => {
          const work = of(copier);
          if (work === undefined) return [];
          const measure = async (): Promise<Sample> => {
            await settleDisk(bench);
            return await alone(parties, copier.party, work);
          };
          return [{ name: copier.name, role: copier.role, measure }];
        }),
      }),
    );
    const results = await bench.measure(measured, quick ? roundsMost.quick : roundsMost.full);
    await bench.children.stopAll();
    return {
      ...nothing,
      notes: [
        `volumes of ${size / 2 ** 20} MiB, written whole first; changes are 4 KiB blocks at random; both ends, and the host, on this machine`,
        'the product encrypts, checksums, verifies and lands in a snapshot; processor time is that of both clusters, link included',
        'nbdcopy --flush between two qemu-nbd servers, from qcow2; it has no deltas',
        'rsync and btrfs: what they wrote is on the disk when the time ends (sync -f)',
      ],
      skipped,
      cells: results,
    };
  },
};

async function prepare(
  bench: Bench,
): Promise<{ readonly copiers: readonly Copier[]; readonly skipped: readonly string[] }> {
  bench.progress.say('starting clusters');
  const copiers: Copier[] = [new AntipodeCopier(bench, 'antipode', 'ours', await startDirectPair(bench))];
  const skipped: string[] = [];
  const { against } = bench.settings;
  const asked = (name: string): boolean => {
    const is = against === undefined || name.includes(against);
    if (!is) skipped.push(`${name}: left out by --against`);
    return is;
  };
  if (bench.settings.quick) skipped.push("through the lab's link: not in a quick run");
  else if (asked("through the lab's link"))
    copiers.push(new AntipodeCopier(bench, "through the lab's link", 'variant', await startLab(bench)));
  if (bench.settings.oursOnly) return { copiers, skipped: [...skipped, 'peers: left out by --ours'] };
  const noNbdcopy = asked('nbdcopy') && missing('nbdcopy', ['nbdcopy', 'qemu-nbd', 'qemu-img']);
  if (noNbdcopy === undefined) {
    bench.progress.say('writing the source of nbdcopy');
    const source = await NbdcopyCopier.source(bench);
    copiers.push(new NbdcopyCopier(bench, source, 'qcow2'), new NbdcopyCopier(bench, source, 'raw'));
  } else if (noNbdcopy !== false) skipped.push(noNbdcopy);
  const noRsync = asked('rsync') && missing('rsync', ['rsync']);
  if (noRsync === undefined) copiers.push(new RsyncCopier(bench, await bench.makeDir('rsync')));
  else if (noRsync !== false) skipped.push(noRsync);
  const noBtrfs =
    asked('btrfs') &&
    (missing('btrfs', ['btrfs', 'mkfs.btrfs', 'losetup', 'mount']) ??
      (process.getuid?.() === 0 ? undefined : 'btrfs: only the superuser may mount its file systems'));
  if (noBtrfs === undefined) {
    try {
      copiers.push(await BtrfsCopier.open(bench));
    } catch (error) {
      bench.signal.throwIfAborted();
      skipped.push(
        `btrfs: this machine mounts no loop device (${error instanceof Error ? error.message : String(error)})`,
      );
    }
  } else if (noBtrfs !== false) skipped.push(noBtrfs);
  return { copiers, skipped };
}
