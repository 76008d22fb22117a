// Measures replication between two real clusters on this machine: initial sync, a small delta of a large thin volume, idle memory.
// Usage: npm run build && node scripts/measure-replication.mjs [data GiB, default 2]
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { connect } from '../packages/client/dist/index.js';
import { connectNbd } from '../packages/hosts/dist/index.js';

const GiB = 1024 ** 3;
const MiB = 1024 ** 2;
const data = Number(process.argv[2] ?? 2) * GiB;
const directory = mkdtempSync(join(tmpdir(), 'antipode-measure-'));
const port = 21_000 + (process.pid % 20_000);
const lab = spawn(
  process.execPath,
  ['packages/cli/bin/antipode.js', 'lab', '--dir', directory, '--base-port', String(port), '--json'],
  { stdio: ['ignore', 'pipe', 'inherit'] },
);
const line = await new Promise((resolve) => createInterface({ input: lab.stdout }).once('line', resolve));
const [a] = JSON.parse(line).sites;
const client = await connect({ url: a.url, username: a.username, password: a.password, tls: { mode: 'insecure' } });
const { hostname, port: nbdPort } = new URL(a.nbd);

/** Memory of each process of the two clusters, MiB: proportional (a page that processes share counts once) and resident. */
const memory = () => {
  const rows = execFileSync('ps', ['-eo', 'pid=,ppid=,rss=,args='])
    .toString()
    .split('\n')
    .map((row) => /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(.*)$/.exec(row))
    .filter(Boolean);
  const pss = (pid) =>
    Math.round(Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]) / 1024);
  return rows
    .filter((row) => row[4].includes(' serve ') && row[4].includes(directory))
    .map((row) => {
      const parts = [
        ['supervisor', row],
        ...rows
          .filter((other) => other[2] === row[1])
          .map((other) => [/\/(dataplane|management)\//.exec(other[4])?.[1] ?? 'other', other]),
      ];
      const proportional = Object.fromEntries(parts.map(([name, part]) => [name, pss(part[1])]));
      const sum = (values) => values.reduce((total, value) => total + value, 0);
      return {
        proportional,
        total: sum(Object.values(proportional)),
        resident: sum(parts.map(([, part]) => Math.round(part[3] / 1024))),
      };
    });
};
const noise = (length, seed) => {
  const words = new Uint32Array(length / 4);
  let state = seed * 2654435761 + 1;
  for (let index = 0; index < words.length; index++)
    words[index] = state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return new Uint8Array(words.buffer);
};
const figures = async (session) =>
  (await client.request('GET', `/api/antipode/v1/replication_sessions/${session}`)).body;
const settled = async (session) => {
  for (;;) {
    const row = await client.get('replication_session', session);
    if (row.state === 'OK' && row.last_sync_timestamp !== null) return row;
    await pause(50);
  }
};

try {
  const fresh = memory();
  const volume = await client.create('volume', { name: 'measure', size: 64 * GiB });
  const host = await connectNbd({ host: hostname, port: Number(nbdPort), exportName: 'measure' });
  let start = performance.now();
  for (let at = 0; at < data; at += 8 * MiB) {
    const bytes = noise(8 * MiB, at / MiB + 1);
    await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        host.write(at + index * MiB, bytes.subarray(index * MiB, (index + 1) * MiB)),
      ),
    );
  }
  await host.flush();
  const writeRate = data / MiB / ((performance.now() - start) / 1000);
  const remote = await client.first('remote_system', { select: 'id' });
  const rule = await client.create('replication_rule', { name: 'm', rpo: 'One_Day', remote_system_id: remote.id });
  const policy = await client.create('policy', { name: 'm', replication_rule_ids: [rule] });
  start = performance.now();
  await client.modify('volume', volume, { protection_policy_id: policy });
  const session = (await client.first('replication_session', { select: 'id' })).id;
  await settled(session);
  const initial = (performance.now() - start) / 1000;
  const afterInitial = memory();
  const delta = async (bytes) => {
    const before = (await figures(session)).shipped_bytes_total;
    const count = bytes / 4096;
    const step = Math.floor(data / 4096 / count);
    for (let from = 0; from < count; from += 256) {
      await Promise.all(
        Array.from({ length: Math.min(256, count - from) }, (_, index) =>
          host.write((from + index) * step * 4096, noise(4096, from + index + 7)),
        ),
      );
    }
    await host.flush();
    const begin = performance.now();
    const last = (await client.get('replication_session', session)).last_sync_timestamp;
    await client.action('replication_session', session, 'sync');
    for (;;) {
      const row = await client.get('replication_session', session);
      if (row.state === 'OK' && row.last_sync_timestamp !== last) break;
      await pause(10);
    }
    const seconds = (performance.now() - begin) / 1000;
    return {
      changed_MiB: bytes / MiB,
      shipped_MiB: ((await figures(session)).shipped_bytes_total - before) / MiB,
      seconds: Number(seconds.toFixed(2)),
    };
  };
  const none = await delta(0);
  const one = await delta(Math.floor(data / 100 / 4096) * 4096);
  const four = await delta(Math.floor(data / 25 / 4096) * 4096);
  await host.close();
  await pause(20_000);
  const idle = memory();
  console.log(
    JSON.stringify(
      {
        data_GiB: data / GiB,
        hostWrite_MiB_s: Math.round(writeRate),
        initialSync_MiB_s: Math.round(data / MiB / initial),
        initialSync_s: Number(initial.toFixed(1)),
        deltas: { none, onePercent: one, fourPercent: four },
        memory_MiB: { fresh, afterInitial, idle },
      },
      null,
      2,
    ),
  );
} finally {
  await client.close();
  lab.kill('SIGTERM');
  await new Promise((resolve) => lab.once('exit', resolve));
  rmSync(directory, { recursive: true, force: true });
}
