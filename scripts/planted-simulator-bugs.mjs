// Plants one bug after another in a copy of the product and says which invariant the simulator finds it by, after how many simulated hours,
// and seconds of a core.
//   node scripts/planted-simulator-bugs.mjs            all of them, as a table
//   node scripts/planted-simulator-bugs.mjs NAME ...   some of them
// The working tree is not touched. docs/reliability.md has the table.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { plantEach } from './planting.mjs';

const seeds = 8;
const hours = 24;
const graph = 'packages/blocks/src/embedded/graph';
const session = 'packages/replication/src/session';
const replication = 'packages/cluster/src/replication';

/** Each: what is wrong, where, the text that is right and the one that is not. The text must be there once. */
const bugs = [
  {
    name: 'half-a-group',
    what: 'a commit moves the first member of a group alone',
    file: `${graph}/apply.ts`,
    right: 'for (const member of graph.points.get(target.id)!.members) {',
    wrong: 'for (const member of graph.points.get(target.id)!.members.slice(0, 1)) {',
  },
  {
    name: 'flush-is-a-wish',
    what: 'a flush is answered before anything is on stable storage',
    file: 'packages/blocks/src/embedded/volume-device.ts',
    right: '  async flush(): Promise<void> {\n    this.#volume();\n    await this.#core.log.durable();',
    wrong: '  async flush(): Promise<void> {\n    this.#volume();',
  },
  {
    name: 'last-cycle-left-out',
    what: 'a planned failover goes on from the copy before the sealed point',
    file: `${graph}/apply.ts`,
    right: 'if (change.commit !== undefined) commitStage(graph, half, change.commit.digests);',
    wrong: 'if (change.commit !== undefined) delete half.stage;',
  },
  {
    name: 'everybody-writes',
    what: 'a destination takes the writes of hosts',
    file: `${graph}/plan.ts`,
    right: '  if (volume.follows) return false;\n  const half = volume.session',
    wrong: '  if (volume.follows) return true;\n  const half = volume.session',
  },
  {
    name: 'seal-keeps-nobody-out',
    what: 'a sealed source still takes writes',
    file: `${graph}/plan.ts`,
    right: "half.role === 'source' && half.seal === undefined)",
    wrong: "half.role === 'source')",
  },
  {
    name: 'never-again',
    what: 'a session that a lost link has stopped is not tried again',
    file: `${session}/evaluate.ts`,
    right: '  if (fault === undefined) return true;\n',
    wrong: "  if (fault === undefined) return true;\n  if (fault.code === 'link_lost') return false;\n",
  },
  {
    name: 'always-the-whole',
    what: 'a cycle ships the whole and not the difference',
    file: 'packages/replication/src/transfer/shipment.ts',
    right: 'this.#engine.difference(local, from[pair], target.id)',
    wrong: 'this.#engine.difference(local, undefined, target.id)',
  },
  {
    name: 'old-generations-count',
    what: 'an old message of another generation is taken for a present one',
    file: `${session}/contact.ts`,
    right: '  if (theirs.generation.number < mine.number) return unchanged(seen);\n',
    wrong:
      "  if (theirs.generation.number < mine.number) return unchanged({ ...seen, generation: theirs.generation, role: theirs.role === 'source' ? 'destination' : 'source' });\n",
    also: [['  if (isOutOfDate(half, theirs)) return unchanged(seen);\n', '']],
  },
  {
    name: 'bases-are-kept',
    what: 'the base before is not let go of when a cycle is done',
    file: `${graph}/apply.ts`,
    right: '      half.base = plainBase(half, change.base);\n      return tidySession(graph, half);',
    wrong: '      half.base = plainBase(half, change.base);\n      return;',
  },
  {
    name: 'space-is-forgotten',
    what: 'the file of a segment that is gone is neither used again nor removed',
    file: 'packages/blocks/src/embedded/log/stored-segments.ts',
    right: '    this.spares.push(...retired.filter((name) => this.retired.includes(name)));\n',
    wrong: '',
  },
  {
    name: 'pause-any-time',
    what: 'a command is taken that the table refuses',
    file: `${session}/accept-command.ts`,
    right: "  if (verdict === 'no') {\n",
    wrong: "  if (verdict === 'no' && command !== 'resume') {\n",
  },
  {
    name: 'catalog-wins',
    what: 'after a restart the catalog is believed and not the engine',
    file: `${session}/birth.ts`,
    right: 'if (engine.generation.number !== half.generation.number || engine.role !== half.role) {',
    wrong: 'if (engine.generation.number < 0) {',
  },
  {
    name: 'rot-is-shown',
    what: 'a block that has rotted is given out',
    file: 'packages/blocks/src/embedded/read-image.ts',
    right: 'if (sumOf(bytes) === sums[run.block - first + index]) continue;',
    wrong: 'if (sumOf(bytes) !== 0n) continue;',
  },
  {
    name: 'rot-is-for-ever',
    what: 'a cycle whose target cannot be read is never given up',
    file: `${session}/on-outcome.ts`,
    right: "  code === 'source_damaged' && !retry && half.cycle?.phase === 'ship' ? without(half, 'cycle') : half;",
    wrong: "  code === 'internal' && !retry ? without(half, 'cycle') : half;",
  },
  {
    name: 'nobody-listens',
    what: 'the answer to a snapshot that a rule takes is awaited by nobody',
    file: 'packages/cluster/src/services/snapshot-rules/snapshot-scheduler.ts',
    right: 'else await snapshots.takeSet(target as VolumeGroupDocument, wish);',
    wrong: 'else void snapshots.takeSet(target as VolumeGroupDocument, wish);',
  },
  {
    name: 'points-outlive-sessions',
    what: 'the internal points of a session stay when its half is removed',
    file: `${graph}/apply.ts`,
    right: 'point.holds = point.holds.filter((hold) => hold !== holder);\n  tidySession(graph, half);\n',
    wrong: 'point.holds = point.holds.filter((hold) => hold !== holder);\n',
  },
  {
    name: 'nobody-says-it-is-over',
    what: 'a peer that missed the end of a session does not hear of it later',
    file: `${replication}/sessions.ts`,
    right: "return grave === undefined ? { kind: 'unknown_session' }",
    wrong: "return grave === undefined || true ? { kind: 'unknown_session' }",
  },
  {
    name: 'copies-of-policies-stay',
    what: 'the copy of a policy stays when its session is over',
    file: `${replication}/sessions.ts`,
    right: '.filter(isOf)) ',
    wrong: ".filter(isOf)) if (record.half.role === 'source') ",
    also: [['if (policy?.is_replica)\n', "if (policy?.is_replica && record.half.role === 'source')\n"]],
  },
  {
    name: 'diverged-is-lost',
    what: 'what diverged at an old source is not kept',
    file: `${graph}/apply.ts`,
    right: '  if (change.preserve !== undefined) keepHeads(graph, half, change.preserve);\n',
    wrong: '',
  },
  {
    name: 'diverged-is-hidden',
    what: 'what diverged is kept, and no snapshot shows it',
    file: `${replication}/session-reports.ts`,
    right: "if (point.kind !== 'diverged' && point.tag.purpose !== testPurpose) return;",
    wrong: 'if (point.tag.purpose !== testPurpose) return;',
  },
  {
    name: 'snapshots-of-another-moment',
    what: 'a replicated snapshot shows the target of its cycle',
    file: `${graph}/apply.ts`,
    right: '.map((pair, index) => ({ volume: pair.local, layer: layers[index]![number]!, size',
    wrong: '.map((pair, index) => ({ volume: pair.local, layer: layers[index]!.at(-1)!, size',
  },
  {
    name: 'the-dead-return',
    what: 'a half that was removed can be made again by an old offer: neither management nor the engine knows it for an old one',
    file: `${graph}/plan.ts`,
    right: 'if (grave !== undefined && grave.number >= half.generation.number)',
    wrong: 'if (grave !== undefined && grave.number < 0)',
    also: [
      [
        'tombstone(sessionId(session))) !== undefined',
        'tombstone(sessionId(session))) === null',
        `${replication}/session-birth.ts`,
      ],
    ],
  },
  {
    name: 'old-offers-make-copies',
    what: 'an old offer makes the copies of a session that is over, and no half',
    file: `${replication}/session-birth.ts`,
    right: 'tombstone(sessionId(session))) !== undefined',
    wrong: 'tombstone(sessionId(session))) === null',
  },
  {
    name: 'catalog-says-otherwise',
    what: 'the catalog does not hear of a failover',
    file: `${replication}/session-reports.ts`,
    right: '        this.#flag(record, half, false);\n',
    wrong: '',
  },
  {
    name: 'damage-is-not-told',
    what: 'damage is found, and no alert says so',
    file: 'packages/cluster/src/management/cluster-services.ts',
    right: "if (event.kind === 'damage')",
    wrong: "if (event.kind === 'damage' && event.volume === undefined)",
  },
  {
    name: 'lost-sessions-stay-lost',
    what: 'sessions that were lost with the catalog are not taken up when their peer is paired anew',
    file: `${replication}/lost-sessions.ts`,
    right: '    this.#isDue = true;\n    this.look();\n',
    wrong: '',
  },
];

await plantEach({
  bugs,
  packages: ['base', 'contract', 'blocks', 'hosts', 'replication', 'cluster', 'simulation'],
  parts: ['src', 'package.json'],
  try(copy, bug) {
    let passed_h = 0;
    let took_s = 0;
    for (let seed = 1; seed <= seeds; seed++) {
      const main = join(copy, 'packages/simulation/src/main.ts');
      const args = ['--conditions=source', main, '--seed', String(seed), '--hours', String(hours)];
      const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
      const violated = /VIOLATED (\S+) after ([\d.]+) h/.exec(stdout);
      if (violated === null && !stdout.includes('"simulated_hours"'))
        throw new Error(`${bug.name}: ${stdout}${stderr}`);
      passed_h += violated === null ? hours : Number(violated[2]);
      took_s += Number(/([\d.]+) s of a core/.exec(stdout)?.[1]);
      if (violated === null) continue;
      console.log(`| ${bug.what} | ${violated[1]}, seed ${seed} | ${passed_h.toFixed(1)} | ${took_s.toFixed(0)} |`);
      return true;
    }
    console.log(`| ${bug.what} | **nothing** | ${passed_h.toFixed(1)} | |`);
    return false;
  },
});
