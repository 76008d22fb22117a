// Plants one bug after another in a copy of the block engine, or of what moves and upgrades, and says which tests find it, and how fast.
//   node scripts/planted-bugs.mjs            all of them, as a table
//   node scripts/planted-bugs.mjs NAME ...   some of them
// The working tree is not touched. docs/testing.md has the table.
import { spawn } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { plantEach, root } from './planting.mjs';

const engine = 'packages/blocks/src/embedded';
const cluster = 'packages/cluster/src';

/**
 * Each: what is wrong, where, the text that is right and the one that is not. The text must be there once. `suites`: where it is looked
 * for; absent, where bugs of the engine are.
 */
const bugs = [
  {
    name: 'capture-too-late',
    what: 'a page that changes while a checkpoint is being encoded is encoded as it is then',
    file: `${engine}/index/page-table.ts`,
    right: 'this.#capture?.encodeNow(page);',
    wrong: 'void page;',
  },
  {
    name: 'resolved-not-touched',
    what: 'what a deep history comes to is kept although a layer of it has changed',
    file: `${engine}/index/page-table.ts`,
    right: '    this.resolved.touched(layer.id, number);\n    this.#change(layer, number, page);',
    wrong: '    this.#change(layer, number, page);',
  },
  {
    name: 'resolved-outlives-its-top',
    what: 'what a history comes to is kept although its newest layer was folded into one above it',
    file: `${engine}/index/resolved-pages.ts`,
    right: 'if (layers?.has(from) !== layers?.has(into)) this.#drop(top, number);',
    wrong: 'void layers;',
  },
  {
    name: 'emptied-without-checkpoint',
    what: 'what was copied is given back although the checkpoint after it failed',
    file: `${engine}/housekeeper.ts`,
    right: 'this.#checkpointed = await writeCheckpoint(core);',
    wrong:
      'for (const segment of core.copied) core.emptied.add(segment);\n    this.#checkpointed = await writeCheckpoint(core);',
  },
  {
    name: 'lone-sync-failure-ignored',
    what: 'a sync on the ordering thread that fails counts as done',
    file: `${engine}/log/tail.ts`,
    right: 'for (const file of files) file.syncNow!();',
    wrong: 'for (const file of files) { try { file.syncNow!(); } catch { continue; } }',
  },
  {
    name: 'encoded-page-leaves-holes-open',
    what: 'a hole in a page that is looked at as a checkpoint has it does not stop the search',
    file: `${engine}/index/page.ts`,
    right: '        open.close(index);\n        if (run.segment === hole) continue;',
    wrong: '        if (run.segment === hole) continue;\n        open.close(index);',
  },
  {
    name: 'zeros-are-nothing',
    what: 'a segment with ranges of zeros counts as one of data alone',
    file: `${engine}/core.ts`,
    right:
      "    const { sequence, place } = this.log.append({ type: 'zero', layer, block, count });\n    this.holdsMore(place.segment);",
    wrong: "    const { sequence } = this.log.append({ type: 'zero', layer, block, count });",
  },
  {
    name: 'merge-at-edge',
    what: 'an unaligned piece is merged at the beginning of its block',
    file: `${engine}/volume-device.ts`,
    right: 'bytes.set(piece, offset - block * BLOCK_BYTES);',
    wrong: 'bytes.set(piece, 0);',
  },
  {
    name: 'merge-loses-neighbour',
    what: 'a merge whose read had to wait does not look whether the block was written meanwhile',
    file: `${engine}/volume-device.ts`,
    right: '!== before) continue;',
    wrong: '!== before) void 0;',
  },
  {
    name: 'trim-past-end',
    what: 'a trim whose end is unaligned takes the whole last block',
    file: `${engine}/volume-device.ts`,
    right: 'const bodyEnd = Math.max(Math.floor(end / BLOCK_BYTES) * BLOCK_BYTES, headEnd);',
    wrong: 'const bodyEnd = Math.max(Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES, headEnd);',
  },
  {
    name: 'hole-is-absent',
    what: 'a hole does not stop the search: what lies below shows through',
    file: `${engine}/chain.ts`,
    right: 'return page.isHole(index) ? undefined : page;',
    wrong: 'if (page.isHole(index)) continue;\n    return page;',
  },
  {
    name: 'size-limit-ignored',
    what: 'the sizes of the layers on the way down are not asked',
    file: `${engine}/chain.ts`,
    right: 'if (block >= limit) return undefined;',
    wrong: 'void limit;',
  },
  {
    name: 'difference-skips-layer',
    what: 'a difference looks at the newest of the differing layers alone',
    file: `${engine}/difference.ts`,
    right: '...to.links.filter((link) => !ofFrom.has(link.index)),',
    wrong: '...to.links.filter((link) => !ofFrom.has(link.index)).slice(0, 1),',
  },
  {
    name: 'fold-keeps-older',
    what: 'folding a layer puts its blocks over those of the layer above',
    file: `${engine}/layer-writer.ts`,
    right: 'if (!upper.isAbsent(index)) this.#release(lower, index);',
    wrong: 'if (!upper.isAbsent(index) && !lower.isData(index)) this.#release(lower, index);',
  },
  {
    name: 'replay-by-place',
    what: 'replay goes by place in the log instead of by sequence',
    file: `${engine}/log/merged-scan.ts`,
    right: 'a.sequence - b.sequence || a.order - b.order',
    wrong: 'a.order - b.order || a.sequence - b.sequence',
  },
  {
    name: 'compaction-drops-tombstones',
    what: 'compaction does not keep ranges of zeros',
    file: `${engine}/rewriting.ts`,
    right: '...uncovered(core, zeros)]',
    wrong: '...uncovered(core, zeros).slice(0, 0)]',
  },
  {
    name: 'compaction-without-word',
    what: 'segments are given back without a record that voids older checkpoints',
    file: `${engine}/housekeeper.ts`,
    right: "core.note({ op: 'oldest_checkpoint', sequence: this.#checkpointed })",
    wrong: "core.note({ op: 'checkpoint', sequence: this.#checkpointed })",
  },
  {
    name: 'checkpoint-before-durable',
    what: 'a checkpoint names records that are not on stable storage',
    file: `${engine}/checkpoint.ts`,
    right: 'await core.log.durable();',
    wrong: '',
    all: true,
  },
  {
    name: 'eviction-drops-changes',
    what: 'the page cache lets go of pages that no checkpoint has',
    file: `${engine}/index/page-table.ts`,
    right: 'if (page.dirty || page.used) {',
    wrong: 'if (page.used) {',
  },
  {
    name: 'address-before-bytes',
    what: 'a restart address is recorded before the bytes that it covers',
    file: `${engine}/embedded-engine.ts`,
    right: '    stageRuns(this.#core, session, cycle, point, pair, runs, true);\n    return',
    wrong:
      "    const end = runs.at(-1)!;\n    const address = { point, pair, block: end.block + end.count };\n    stageRuns(this.#core, session, cycle, point, pair, [], true);\n    this.#core.order({ op: 'stage_address', session, cycle, address });\n    stageRuns(this.#core, session, cycle, point, pair, runs, false);\n    return",
  },
  {
    name: 'torn-record-taken',
    what: 'a start takes a record whose payload is torn',
    file: `${engine}/log/recover.ts`,
    right: '=== payload.length && blocksMatch(payload, checksums)',
    wrong: '=== payload.length && (blocksMatch(payload, checksums) || true)',
  },
  {
    name: 'sync-again-after-failure',
    what: 'after a failed fdatasync the same segment is synced again',
    file: `${engine}/log/tail.ts`,
    right: 'if (epoch === this.epoch) this.repair(error);',
    wrong: 'if (epoch === this.epoch) this.syncWanted = true;\n      void error;',
  },
  {
    name: 'freeze-forgets-member',
    what: 'a point of several volumes leaves the last one on the frozen layer',
    file: `${engine}/graph/apply.ts`,
    right: 'if (!volume.follows) own(graph, volume, layer, layers[index]!);',
    wrong:
      'if (!volume.follows && (index === 0 || index < volumes.length - 1)) own(graph, volume, layer, layers[index]!);',
  },
  {
    name: 'commit-on-any-base',
    what: 'a commit is taken whatever base it builds on',
    file: `${engine}/graph/plan.ts`,
    right: "if (half.base?.point !== stage.plan.base) refuse('stale', 'the cycle builds on another",
    wrong:
      "if (half.base?.point === undefined && stage.plan.base !== undefined) refuse('stale', 'the cycle builds on another",
  },
  {
    name: 'seal-without-effect',
    what: 'a sealed volume takes writes',
    file: `${engine}/graph/plan.ts`,
    right: "half.role === 'source' && half.seal === undefined);",
    wrong: "half.role === 'source');",
  },
  {
    name: 'packed-part-ignored',
    what: 'a read takes the first block out of a frame, whichever it was asked for',
    file: `${engine}/stored-blocks.ts`,
    right: '=> part * BLOCK_BYTES;',
    wrong: '=> part * 0;',
  },
  {
    name: 'packed-replayed-plain',
    what: 'replay takes blocks of a frame for plain ones',
    file: `${engine}/replay.ts`,
    right: "record.type === 'packed' ? wholeFrame(record.frame_bytes, count) : undefined;",
    wrong: "record.type === 'packed' && count > 2 ? wholeFrame(record.frame_bytes, count) : undefined;",
  },
  {
    name: 'packed-part-not-kept',
    what: 'a page in the checkpoint forgets which block of its frame a block is',
    file: `${engine}/index/page.ts`,
    right: 'part + (at << 4)',
    wrong: 'part',
  },
  {
    name: 'rest-of-frame-from-its-start',
    what: 'what remains of a frame is packed again from its first block on',
    file: `${engine}/rewriting.ts`,
    right: 'content.subarray(part.from * BLOCK_BYTES, (part.from + part.count) * BLOCK_BYTES);',
    wrong: 'content.subarray(0, part.count * BLOCK_BYTES);',
  },
  {
    name: 'digest-remembered-wrongly',
    what: 'a digest is remembered though a size above cuts it',
    file: `${engine}/digest.ts`,
    right: 'const cut = owner.limit < Math.min(owner.own, bound);',
    wrong: 'const cut = owner.limit < 0 * bound;',
  },
  {
    name: 'moves-forgotten',
    what: 'a checkpoint forgets what is arriving and departing',
    file: `${engine}/graph/apply.ts`,
    right: '      replace(graph.arrivals, whole.arrivals);\n      replace(graph.departures, whole.departures);\n',
    wrong: '',
  },
  {
    name: 'cut-change-goes-on',
    what: 'the pieces of a change that was cut short stay, and the next change is put behind them',
    file: `${engine}/graph/changes.ts`,
    right: '    if (!follows || found.part !== this.#texts.length) this.#texts = [];\n',
    wrong: '',
  },
  {
    name: 'release-active-early',
    what: 'the active release is written before the new data planes have shown that they work',
    suites: [`${cluster}/supervisor/upgrader.test.ts`],
    file: `${cluster}/supervisor/upgrader.ts`,
    right: '      for (const dataPlane of dataPlanes) {\n        this.#say(',
    wrong: '      this.#keep(committed(this.#state));\n      for (const dataPlane of dataPlanes) {\n        this.#say(',
  },
  {
    name: 'rollback-forgets-sessions',
    what: 'an upgrade that is rolled back leaves the sessions paused for it',
    suites: [`${cluster}/services/upgrades.test.ts`],
    file: `${cluster}/services/upgrades.ts`,
    right: '    sessions.resumeFromSystem(running.id);',
    wrong: "    if (end.outcome === 'done') sessions.resumeFromSystem(running.id);",
  },
  {
    name: 'one-destination-look',
    what: 'a destination that is being started again when the catalog is to follow is not waited for',
    suites: [`${cluster}/migrations/migration-service.test.ts`],
    file: `${cluster}/migrations/migration-service.ts`,
    right: 'if (!passes || this.#stopped) throw error;',
    wrong: 'throw error;',
  },
  {
    name: 'owner-of-before',
    what: 'who asks for what moves is sent to the appliance that has let go of it',
    suites: [`${cluster}/migrations/migration-service.test.ts`],
    file: `${cluster}/migrations/move.ts`,
    right: '        this.#parts.moved();\n        if (adopted)',
    wrong: '        if (adopted)',
  },
  {
    name: 'on-its-way-is-gone',
    what: 'a volume that is leaving another appliance is taken for deleted',
    suites: [`${cluster}/dataplane/exports.test.ts`],
    file: `${cluster}/dataplane/siblings.ts`,
    right: "return known.length === 0 ? 'nowhere' : 'away';",
    wrong: "return known.some(({ volume }) => volume === 'away') ? 'away' : 'nowhere';",
  },
  {
    name: 'unproven-image',
    what: 'an image that moves is complete whatever its digest is at the sender',
    suites: ['packages/blocks/src/contract/engine-regressions.test.ts'],
    file: `${engine}/moving.ts`,
    right: '        equal ? {',
    wrong: '        equal || true ? {',
  },
  {
    name: 'image-on-another',
    what: 'an image that moves goes on though it stands on another one now',
    suites: ['packages/blocks/src/contract/engine-regressions.test.ts'],
    file: `${engine}/graph/plan-moving.ts`,
    right: 'if (here !== undefined && graph.layers.get(here.layer)!.parent === below?.layer) return undefined;',
    wrong: 'if (here !== undefined) return undefined;',
  },
  {
    name: 'stray-moves-stay',
    what: 'a start leaves moves alone that the catalog does not know',
    suites: [`${cluster}/migrations/migration-service.test.ts`],
    file: `${cluster}/migrations/whereabouts.ts`,
    right: '    await found.settle();\n',
    wrong: '',
  },
];

const suites = [
  'packages/blocks/src/embedded/index',
  'packages/blocks/src/embedded/packing.test.ts',
  'packages/blocks/src/embedded/embedded-engine.test.ts',
  'packages/blocks/src/contract/embedded-crash.test.ts',
  'packages/blocks/src/contract/embedded-session.test.ts',
  'packages/blocks/src/contract/embedded-moving.test.ts',
  'packages/blocks/src/embedded/formats.golden.test.ts',
  'packages/blocks/src/contract/large-changes.test.ts',
  'packages/blocks/src/embedded/check/check-directory.test.ts',
  'packages/blocks/src/contract/engine-regressions.test.ts',
  'packages/blocks/src/embedded/log',
];

/** That a bug is found counts here, not the smallest history that shows it. */
function findOnly(copy) {
  const setup = join(copy, 'setup.mjs');
  writeFileSync(setup, "import fc from 'fast-check';\nfc.configureGlobal({ endOnFailure: true });\n");
  const config = join(copy, 'vitest.config.ts');
  writeFileSync(
    config,
    readFileSync(config, 'utf8').replace('test: {', `test: { setupFiles: [${JSON.stringify(setup)}],`),
  );
}

/** Runs one file of tests; answers the first that failed, with the ms that it took, or undefined when all passed. */
function runTests(copy, path) {
  const report = join(copy, 'report.json');
  rmSync(report, { force: true });
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const options = ['--root', copy, '--bail', '1', '--maxWorkers', '1', '--reporter', 'json', '--outputFile', report];
  const child = spawn(process.execPath, [vitest, 'run', path, ...options, '--testTimeout', '120000'], {
    cwd: copy,
    stdio: 'ignore',
  });
  return new Promise((resolve) => {
    child.once('close', () => {
      const { testResults } = JSON.parse(readFileSync(report, 'utf8'));
      const tests = testResults.flatMap(({ assertionResults }) => assertionResults);
      const failed = tests.find(({ status }) => status === 'failed');
      resolve(failed && { test: failed.fullName, ms: Math.round(failed.duration ?? 0) });
    });
  });
}

await plantEach({
  bugs,
  packages: ['base', 'contract', 'blocks', 'hosts', 'replication', 'cluster'],
  parts: ['src', 'package.json', 'tsconfig.json'],
  files: ['tsconfig.base.json', 'vitest.config.ts', 'scripts'],
  async try(copy, bug) {
    findOnly(copy);
    for (const suite of bug.suites ?? suites) {
      const found = await runTests(copy, suite);
      if (found === undefined) continue;
      const took_s = (found.ms / 1000).toFixed(1);
      console.log(`| ${bug.name} | ${bug.what} | \`${suite.split('/').at(-1)}\`: ${found.test} | ${took_s} s |`);
      return true;
    }
    console.log(`| ${bug.name} | ${bug.what} | **nothing** | |`);
    return false;
  },
});
