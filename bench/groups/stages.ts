import { decryptAlone, encryptAlone } from '../load/ciphers.ts';
import { EngineStages } from '../load/engine-stages.ts';
import { streamOver } from '../load/loopback-stream.ts';
import type { CellFacts, GroupResult, Sample } from '../runner/results.ts';
import type { Cell } from '../runner/rounds.ts';
import { type Group, isWanted } from './group.ts';

const MiB = 2 ** 20;
const quick_bytes = 64 * MiB;
const full_bytes = 512 * MiB;

type Stage = (bytes: number, engines: EngineStages) => Promise<unknown>;

interface StageCell extends CellFacts {
  readonly work: Stage;
}

const stage = (id: string, title: string, work: Stage): StageCell => ({
  ...{ id, title, unit: 'MiB/s', cpuUnit: 'ns/byte', better: 'more', work },
});

/** In the order in which bytes pass them; the engine's stages build on those before. */
const cells: readonly StageCell[] = [
  stage('append', 'host write: checksum, append to the log', (_, engines) => engines.append()),
  stage('sync', 'sync of the log at the source', (_, engines) => engines.sync()),
  stage('read', 'difference, read and verify at the source', (_, engines) => engines.read()),
  stage('socket', 'socket over loopback, both ends', (bytes) => streamOver('tcp', bytes)),
  stage('encrypt', 'encrypt alone (AES-256-GCM)', async (bytes) => encryptAlone(bytes)),
  stage('decrypt', 'decrypt alone', async (bytes) => decryptAlone(bytes)),
  stage('tls', 'encrypt, socket and decrypt (TLS 1.3), both ends', (bytes) => streamOver('tls', bytes)),
  stage('stage', 'verify and append at the destination', (_, engines) => engines.stage()),
  stage('stage-sync', 'sync of the log at the destination', (_, engines) => engines.syncStage()),
  stage('read-back', 'read back and digest at the destination', (_, engines) => engines.readBack()),
];

export const stages: Group = {
  name: 'stages',
  about: 'what a byte costs on its way from host to copy, stage by stage, each alone in one process',
  cells: cells.map(({ title }) => title),
  async run(bench): Promise<GroupResult> {
    const bytes = Math.min(bench.settings.size, bench.settings.quick ? quick_bytes : full_bytes);
    const nothing = { group: 'stages', notes: [], skipped: [], cells: [], figures: [] };
    if (!cells.some((cell) => isWanted(bench, cell))) return nothing;
    let engines: EngineStages | undefined;
    const measured = cells.map(
      ({ work, ...facts }): Cell => ({
        ...facts,
        contenders: [
          {
            name: 'antipode',
            role: 'ours',
            async measure(): Promise<Sample> {
              if (facts.id === 'append') {
                await engines?.close();
                engines = await EngineStages.open(await bench.makeDir('stages'), bytes);
              }
              if (engines === undefined) throw new Error('the stage before it failed');
              const cpu = process.cpuUsage();
              const begin_ms = performance.now();
              await work(bytes, engines);
              const took_s = (performance.now() - begin_ms) / 1000;
              const { user, system } = process.cpuUsage(cpu);
              return { value: bytes / MiB / took_s, cpu: ((user + system) * 1000) / bytes };
            },
          },
        ],
      }),
    );
    const results = await bench.measure(measured);
    await engines?.close();
    return {
      ...nothing,
      notes: [
        `${bytes / MiB} MiB in pieces of 1 MiB through two engines in the bench's own process; processor time is that of both ends of a stage`,
      ],
      cells: results,
    };
  },
};
