import { ApiError } from '@antipode/client';
import { otherSite, type SiteName } from '../lab/layout.ts';
import { bothAre, type Drill } from './drill.ts';
import { figuresAt, sessionAt } from './site.ts';
import { writeImage } from './volume-io.ts';

export interface Step {
  readonly name: string;
  readonly run: (drill: Drill) => Promise<void>;
}

/** What is written first after a failover. */
const firstWrite_bytes = 4096;

const act = async (drill: Drill, site: SiteName, action: string, body?: object): Promise<void> => {
  await drill.deps.sites[site].client.action('replication_session', drill.sessionId, action, body);
};

/** The whole story, in order. Every step starts where the one before ended. */
export const story: readonly Step[] = [
  { name: 'Make a volume at London and write a file system to it', run: makeVolume },
  { name: 'Protect it', run: protect },
  { name: 'Initial synchronization', run: initialSync },
  { name: 'Write more, synchronize the change', run: writeAndSync },
  { name: 'Pause', run: pause },
  { name: 'Write while paused: the change accumulates', run: writeWhilePaused },
  { name: 'Resume and synchronize', run: resumeAndSync },
  { name: 'Planned failover to Osaka', run: (drill) => plannedFailover(drill, 'London', 3) },
  { name: 'Write at the new source', run: (drill) => drill.writeGeneration('Osaka', 4).then(() => undefined) },
  { name: 'Reprotect towards London', run: (drill) => reprotect(drill, 'Osaka', changedBetween(drill, 3, 4)) },
  { name: 'Fail back to London', run: (drill) => plannedFailover(drill, 'Osaka', undefined) },
  { name: 'Reprotect towards Osaka', run: (drill) => reprotect(drill, 'London', firstWrite_bytes) },
  { name: 'Synchronize, write on, cut the link', run: cutTheLink },
  { name: 'Unplanned failover to Osaka', run: unplannedFailover },
  { name: 'Heal the link: the old source is fenced', run: heal },
  { name: 'Reprotect towards London over what it had diverged to', run: reprotectAfterDisaster },
];

async function makeVolume(drill: Drill): Promise<void> {
  const { sites, size_bytes, checks, progress } = drill.deps;
  const id = await sites.London.client.create('volume', { name: drill.volumeName, size: size_bytes });
  drill.volumeIds.London = id;
  const volume = await sites.London.client.get('volume', id);
  checks.equal('the size of the new volume', volume.size, size_bytes);
  drill.written_bytes += await drill.withVolume('London', (open) => {
    checks.equal('the size of the export', open.size_bytes, size_bytes);
    return writeImage(open, drill.image, drill.image.ranges(), (fraction) => progress(fraction, 'writing at London'));
  });
  await drill.verify('London', drill.image);
}

async function protect(drill: Drill): Promise<void> {
  const { sites, checks, runName } = drill.deps;
  const { client } = sites.London;
  const remote = await client.first('remote_system', { select: '*' });
  checks.that('a remote system at London', remote !== undefined, () => 'none');
  drill.ruleId = await client.create('replication_rule', {
    name: `drill-rule-${runName}`,
    rpo: 'One_Day',
    remote_system_id: remote?.id,
  });
  drill.policyId = await client.create('policy', {
    name: `drill-policy-${runName}`,
    replication_rule_ids: [drill.ruleId],
  });
  // On a link this slow the first synchronization takes about eight seconds: the kills have something to interrupt.
  if (drill.deps.killClusters)
    await drill.deps.control({ ask: 'link', rate_bps: Math.round(0.4 * drill.image.size_bytes) });
  await client.modify('volume', drill.volumeIds.London ?? '', { protection_policy_id: drill.policyId });
  await drill.waitUntil('a replication session for the volume', async () => {
    const session = await client.first('replication_session', {
      select: '*',
      filter: { local_resource_id: `eq.${drill.volumeIds.London}` },
    });
    drill.sessionId = session?.id ?? '';
    return { holds: session?.role === 'Source', seen: session === undefined ? 'none' : `role ${session.role}` };
  });
}

async function initialSync(drill: Drill): Promise<void> {
  const { sites, checks, killClusters, control } = drill.deps;
  if (killClusters) {
    for (const name of ['London', 'Osaka'] as const) await killDuringCopy(drill, name);
    await control({ ask: 'link', rate_bps: null });
  }
  drill.copyAsked_ms = drill.deps.clock.monotonic();
  await drill.waitForSession(
    'the first synchronization to be complete at both sites',
    (seen) => bothAre(seen, 'OK') && typeof seen.London.last_sync_timestamp === 'string',
    drill.syncMost_ms(drill.image.size_bytes),
  );
  const session = await sessionAt(sites.Osaka, drill.sessionId);
  checks.equal('the role of Osaka', session.role, 'Destination');
  drill.volumeIds.Osaka = session.local_resource_id ?? '';
  const copy = await sites.Osaka.client.get('volume', drill.volumeIds.Osaka);
  checks.equal('the name of the copy', copy.name, drill.volumeName);
  checks.equal('the copy being flagged as a destination', copy.is_replication_destination, true);
  await drill.verify('Osaka', drill.image);
  await drill.verifyRefusesWrites('Osaka');
}

/** SIGKILL to every process of a cluster while it copies; the lab brings it back. */
async function killDuringCopy(drill: Drill, name: SiteName): Promise<void> {
  const { control, sites } = drill.deps;
  await drill.waitUntil('the first synchronization to be under way', async () => {
    const { shipped_bytes_total, copied_bytes } = await figuresAt(sites.London, drill.sessionId);
    return { holds: shipped_bytes_total > 0 || copied_bytes > 0, seen: `${shipped_bytes_total} bytes shipped` };
  });
  const { last_sync_timestamp } = await sessionAt(sites.London, drill.sessionId);
  drill.deps.checks.that(
    `the first synchronization to be incomplete when ${name} is killed`,
    typeof last_sync_timestamp !== 'string',
    () => `completed at ${last_sync_timestamp}`,
  );
  const restarts = (await control({ ask: 'status' })).sites.find((site) => site.name === name)?.restarts ?? 0;
  await control({ ask: 'kill', site: name });
  await drill.waitUntil(`${name} to be back`, async () => {
    const status = (await control({ ask: 'status' })).sites.find((site) => site.name === name);
    return { holds: status?.state === 'ready' && status.restarts > restarts, seen: `${status?.state}` };
  });
}

async function writeAndSync(drill: Drill): Promise<void> {
  const changed = await drill.writeGeneration('London', 1);
  await drill.synchronize('London', changed);
  await drill.verify('Osaka', drill.image);
}

async function pause(drill: Drill): Promise<void> {
  await act(drill, 'London', 'pause');
  await drill.waitForSession('the session to be Paused at both sites', (seen) => bothAre(seen, 'Paused'));
  const refused = await act(drill, 'London', 'sync').catch((error: unknown) => error);
  drill.deps.checks.that(
    'sync of a paused session to be refused with 422',
    refused instanceof ApiError && refused.status === 422,
    () => String(refused ?? 'success'),
  );
}

async function writeWhilePaused(drill: Drill): Promise<void> {
  const before = drill.image;
  // Some of what was written may be what was there: the last bytes of a file, for instance.
  const changed = (await drill.writeGeneration('London', 2)) * 0.9;
  await drill.waitUntil(`at least ${Math.floor(changed)} bytes of accumulated change to be shown`, async () => {
    const { accumulated_bytes } = await figuresAt(drill.deps.sites.London, drill.sessionId);
    drill.deps.progress(Math.min(1, accumulated_bytes / changed), 'change accumulates');
    return { holds: accumulated_bytes >= changed, seen: `${accumulated_bytes} bytes` };
  });
  const after = drill.image;
  await drill.verify('Osaka', before);
  drill.image = after;
}

async function resumeAndSync(drill: Drill): Promise<void> {
  const changed = changedBetween(drill, 1, 2);
  await act(drill, 'London', 'resume');
  await drill.waitForSession('the session to be OK at both sites', (seen) => bothAre(seen, 'OK'));
  await drill.synchronize('London', changed);
  await drill.verify('Osaka', drill.image);
}

/** Planned: nothing is lost, not even what was written a moment before without a synchronization. */
async function plannedFailover(drill: Drill, from: SiteName, lastGeneration: number | undefined): Promise<void> {
  const to = otherSite(from);
  const { clock, sites } = drill.deps;
  const shippedBefore = await drill.shipped_bytes();
  const changed = lastGeneration === undefined ? 0 : await drill.writeGeneration(from, lastGeneration);
  drill.oldConnection = await sites[from].open(drill.volumeName);
  const started_ms = clock.monotonic();
  await act(drill, from, 'failover', { is_planned: true });
  await failedOverTo(drill, to);
  const rto_ms = await firstWrite(drill, to, started_ms);
  drill.plannedRto_ms = Math.max(drill.plannedRto_ms ?? 0, rto_ms);
  await drill.verify(to, drill.image);
  await drill.verifyRefusesWrites(from);
  await drill.checkShipped(shippedBefore, changed);
}

async function failedOverTo(drill: Drill, to: SiteName): Promise<void> {
  const from = otherSite(to);
  await drill.waitForSession(
    `the session to be Failed_Over at both sites with ${to} as Source`,
    (seen) => bothAre(seen, 'Failed_Over') && seen[to].role === 'Source' && seen[from].role === 'Destination',
  );
}

/** The first write at the new source, of what is there already: the copy stays as it was. Answers the time since `started_ms`. */
async function firstWrite(drill: Drill, site: SiteName, started_ms: number): Promise<number> {
  const { clock, checks } = drill.deps;
  return await drill.withVolume(site, async (volume) => {
    checks.equal(`a writable export at ${site}`, !volume.isReadOnly, true);
    await volume.write(0, await volume.read(0, firstWrite_bytes));
    await volume.flush();
    return Math.round(clock.monotonic() - started_ms);
  });
}

async function reprotect(drill: Drill, source: SiteName, changed_bytes: number): Promise<void> {
  const destination = otherSite(source);
  const shippedBefore = await drill.shipped_bytes();
  await act(drill, source, 'reprotect');
  await drill.waitForSession(
    `the session to be OK at both sites with ${source} as Source`,
    (seen) => bothAre(seen, 'OK') && seen[source].role === 'Source' && seen[destination].role === 'Destination',
    drill.syncMost_ms(drill.image.size_bytes),
  );
  await drill.checkShipped(shippedBefore, changed_bytes);
  await drill.verify(destination, drill.image);
}

/** Bytes that one generation wrote over another. */
const changedBetween = (drill: Drill, from: number, to: number): number =>
  drill
    .imageOf(to)
    .rangesSince(drill.imageOf(from))
    .reduce((sum, range) => sum + range.length, 0);

async function cutTheLink(drill: Drill): Promise<void> {
  const { clock, control, sites } = drill.deps;
  await drill.synchronize('London', await drill.writeGeneration('London', 5));
  const recovered = drill.image;
  drill.lost_bytes = await drill.writeGeneration('London', 6);
  drill.image = recovered;
  drill.oldConnection = await sites.London.open(drill.volumeName);
  drill.cutAt_ms = clock.monotonic();
  await control({ ask: 'link', cut: true });
  await drill.waitUntil('both sites to see that the link is gone', async () => {
    const states = await Promise.all(
      [sites.London, sites.Osaka].map(
        async (site) => (await site.client.first('remote_system', { select: '*' }))?.state,
      ),
    );
    return { holds: states.every((state) => state === 'Management_Connection_Lost'), seen: states.join(', ') };
  });
}

async function unplannedFailover(drill: Drill): Promise<void> {
  const { clock, checks, sites } = drill.deps;
  const started_ms = clock.monotonic();
  await act(drill, 'Osaka', 'failover', { is_planned: false });
  await drill.waitUntil('Osaka to be Source and Failed_Over', async () => {
    const { state, role } = await sessionAt(sites.Osaka, drill.sessionId);
    return { holds: state === 'Failed_Over' && role === 'Source', seen: `${role} ${state}` };
  });
  drill.unplannedRto_ms = await firstWrite(drill, 'Osaka', started_ms);
  drill.unplannedRpo_ms = Math.round(drill.cutAt_ms - drill.copyAsked_ms);
  await drill.verify('Osaka', drill.image);
  const { role } = await sessionAt(sites.London, drill.sessionId);
  checks.equal('the role that London believes in while it is alone', role, 'Source');
  await drill.writeGeneration('Osaka', 7);
}

async function heal(drill: Drill): Promise<void> {
  await drill.deps.control({ ask: 'link', cut: false });
  await failedOverTo(drill, 'Osaka');
  await drill.verifyRefusesWrites('London');
}

async function reprotectAfterDisaster(drill: Drill): Promise<void> {
  const { checks, sites } = drill.deps;
  // What London wrote alone lies within what generation 7 rewrites, so that is all that differs.
  await reprotect(drill, 'Osaka', changedBetween(drill, 5, 7));
  const kept = await sites.London.client.all('volume', {
    select: ['id', 'name', 'type', 'protection_data'],
    filter: { type: 'eq.Snapshot', name: 'like.diverged_*' },
  });
  const own = kept.filter((snapshot) => snapshot.protection_data?.family_id === drill.volumeIds.London);
  checks.that(
    'a snapshot at London of what it had written and lost',
    own.length === 1,
    () => `${own.length} snapshots`,
  );
}
