import { join } from 'node:path';
import { type Export, fill, load, scatter, settleDisk, snapshotWhileWriting } from '../load/export-load.ts';
import { Antipode } from '../peers/antipode.ts';
import { Nbdkit } from '../peers/nbdkit.ts';
import { QemuNbd } from '../peers/qemu-nbd.ts';
import type { Server } from '../peers/server.ts';
import type { Bench } from '../runner/bench.ts';
import type { GroupResult, Role } from '../runner/results.ts';
import type { Cell } from '../runner/rounds.ts';
import { alone } from '../runner/standstill.ts';
import { missing } from '../runner/tools.ts';
import { blockCells } from './block-cells.ts';
import { type Group, isWanted } from './group.ts';

const snapshots = 10;
/** Share of a volume that is rewritten in small blocks before anything is measured. */
const scattered = 0.1;

interface Contestant extends Export {
  readonly server: Server;
  readonly name: string;
  readonly role: Role;
}

export const block: Group = {
  name: 'block',
  about:
    'reads and writes of one host over NBD, against qemu-nbd and nbdkit; again with 10 snapshots taken while writing',
  cells: blockCells.map(({ title, quick }) => `${title}${quick ? '' : ' (not quick)'}`),
  async run(bench): Promise<GroupResult> {
    const { size, seconds, quick } = bench.settings;
    const cellsWanted = blockCells.filter((cell) => (cell.quick || !quick) && isWanted(bench, cell));
    const lacking = missing('block', ['fio']);
    if (lacking !== undefined || cellsWanted.length === 0)
      return { group: 'block', notes: [], skipped: lacking === undefined ? [] : [lacking], cells: [], figures: [] };
    const { contestants, skipped } = await prepare(bench);
    const servers = [...new Set(contestants.map(({ server }) => server))];
    const cells = cellsWanted.map(
      ({ work, quick: _, ...facts }): Cell => ({
        ...facts,
        contenders: contestants.map((contestant) => ({
          name: contestant.name,
          role: contestant.role,
          async measure() {
            await settleDisk(bench);
            return await alone(servers, contestant.server, () => load(bench, contestant, work, { seconds }));
          },
        })),
      }),
    );
    const results = await bench.measure(cells);
    await Promise.all(servers.map((server) => server.stop()));
    return {
      group: 'block',
      notes: [
        ...servers.map(({ name, about }) => `${name}: ${about}`),
        `fio's nbd engine, one connection over loopback TCP; volumes of ${size / 2 ** 20} MiB written twice in 1 MiB blocks, then ${scattered * 100} % of it at random in 4 KiB`,
        'while one is measured, the others stand still (SIGSTOP); before that the disk has written back, and the server has settled for at most a second',
        'processor time is that of all processes of the server',
      ],
      skipped,
      cells: results,
      figures: [],
    };
  },
};

/** Starts all servers, one volume on each, and a second one of ours with snapshots; each is written whole before it is measured. */
async function prepare(
  bench: Bench,
): Promise<{ readonly contestants: readonly Contestant[]; readonly skipped: readonly string[] }> {
  const { size, oursOnly } = bench.settings;
  const skipped: string[] = [];
  const ours = await Antipode.start(bench, join(bench.dir, 'antipode'));
  await ours.createVolume('plain', size);
  const id = await ours.createVolume('snapshots', size);
  const contestants: Contestant[] = [
    { name: 'antipode', role: 'ours', server: ours, uri: ours.uriOf('plain'), size },
    { name: `with ${snapshots} snapshots`, role: 'variant', server: ours, uri: ours.uriOf('snapshots'), size },
  ];
  const peer = (server: QemuNbd | Nbdkit): void => {
    contestants.push({ name: server.name, role: 'peer', server, uri: server.uri, size });
  };
  if (oursOnly) skipped.push('peers: left out by --ours');
  else {
    const noQemu = missing('qemu-nbd', ['qemu-nbd', 'qemu-img']);
    if (noQemu === undefined)
      for (const format of ['qcow2', 'raw'] as const) peer(await QemuNbd.start(bench, format, size));
    else skipped.push(noQemu);
    const noNbdkit = missing('nbdkit file', ['nbdkit']);
    if (noNbdkit === undefined) peer(await Nbdkit.start(bench, size));
    else skipped.push(noNbdkit);
  }
  for (const contestant of contestants) {
    bench.progress.say(`writing ${contestant.name}`);
    // Twice: what the first pass took is given back and used again, as in a system that has been at work for a while.
    await fill(bench, contestant);
    await fill(bench, contestant);
    await scatter(bench, contestant, scattered);
    if (contestant.role === 'variant')
      await snapshotWhileWriting(bench, contestant, snapshots, (name) => ours.snapshot(id, name));
  }
  return { contestants, skipped };
}
