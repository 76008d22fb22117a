import type { Client, ReplicationSession } from '@antipode/client';
import type { CommandContext } from '../commands/context.ts';
import { openHostVolume } from '../drill/host-volume.ts';
import { ProgressBar } from '../drill/progress-bar.ts';
import { writeImage } from '../drill/volume-io.ts';
import { FatImage } from '../image/fat-image.ts';
import { limits } from '../limits.ts';
import { CommandError } from '../options/usage-error.ts';
import type { LabRecord } from './record.ts';
import { connectSite } from './site-client.ts';

const volumeName = 'demo';
const policyName = 'demo-every-five-minutes';
const size_bytes = 64 * 2 ** 20;
const options = { size_bytes, seed: 1, generation: 0 };

/** Makes a protected volume with a file system in it, once, waits for its first copy, and says what to try next. */
export async function runDemo(record: LabRecord, dir: string, context: CommandContext): Promise<void> {
  const [london, osaka] = record.sites;
  if (london === undefined || osaka === undefined) throw new CommandError('the lab does not have its two sites');
  const bar = new ProgressBar(context.err, context.isTerminal);
  const client = await connectSite(london, record.fingerprints[london.name]);
  try {
    await makeVolume(client, london.nbd, bar);
    const session = await waitForCopy(client, context, bar);
    bar.clear();
    context.out(describe(record, dir, session));
  } finally {
    bar.clear();
    await client.close();
  }
}

/** Every part is made only when it is not there: an interrupted demo goes on where it was. */
async function makeVolume(client: Client, nbd: string, bar: ProgressBar): Promise<void> {
  const found = await client.first('volume', { select: '*', filter: { name: `eq.${volumeName}` } });
  if (found?.protection_policy_id || found?.is_replication_destination) return;
  const id = found?.id ?? (await client.create('volume', { name: volumeName, size: size_bytes }));
  const image = new FatImage(options);
  bar.begin('writing a file system to the volume');
  const volume = await openHostVolume(nbd, volumeName);
  try {
    await writeImage(volume, image, image.ranges(), (fraction) => bar.show(fraction, ''));
  } finally {
    await volume.close();
  }
  await client.modify('volume', id, { protection_policy_id: await policyId(client) });
}

async function policyId(client: Client): Promise<string> {
  const policy = await client.first('policy', { select: ['id'], filter: { name: `eq.${policyName}` } });
  if (policy !== undefined) return policy.id;
  const rule = await client.first('replication_rule', { select: ['id'], filter: { name: `eq.${policyName}` } });
  const remote = await client.first('remote_system', { select: ['id'] });
  const ruleId =
    rule?.id ??
    (await client.create('replication_rule', { name: policyName, rpo: 'Five_Minutes', remote_system_id: remote?.id }));
  return await client.create('policy', { name: policyName, replication_rule_ids: [ruleId] });
}

async function waitForCopy(client: Client, context: CommandContext, bar: ProgressBar): Promise<ReplicationSession> {
  bar.begin('first synchronization');
  const until_ms = context.clock.monotonic() + limits.stateWait_ms;
  while (true) {
    const volume = await client.first('volume', { select: ['id'], filter: { name: `eq.${volumeName}` } });
    const session = await client.first('replication_session', {
      select: '*',
      filter: { local_resource_id: `eq.${volume?.id ?? ''}` },
    });
    // A copy that was made once is enough: what the user did since, a pause or a failover, is theirs.
    if (typeof session?.last_sync_timestamp === 'string') return session;
    if (context.clock.monotonic() > until_ms)
      throw new CommandError(`the first synchronization does not end: the session is ${session?.state ?? 'missing'}`);
    bar.show((session?.progress_percentage ?? 0) / 100, session?.state ?? '');
    await context.clock.sleep(limits.poll_ms, context.stop);
  }
}

function describe(record: LabRecord, dir: string, session: ReplicationSession): string {
  const sites = record.sites.flatMap(({ name, url, username, password, nbd }) => [
    name,
    `  REST      ${url}/api/rest`,
    `  User      ${username}`,
    `  Password  ${password}`,
    `  NBD       ${nbd}/${volumeName}`,
    '',
  ]);
  const [london, osaka] = record.sites;
  const login = (site: typeof london): string => `-u ${site?.username}:${site?.password}`;
  const cli = `npx antipode lab link --dir ${dir}`;
  return [
    '',
    ...sites,
    `The volume '${volumeName}' holds a FAT file system and is protected every five minutes; its session is ${session.state}.`,
    '',
    'What to type next, in another terminal:',
    '',
    '  Look at the session:',
    `    curl -sk ${login(london)} '${london?.url}/api/rest/replication_session?select=*'`,
    '  Synchronize now (Basic credentials need no token):',
    `    curl -sk ${login(london)} -X POST ${london?.url}/api/rest/replication_session/${session.id}/sync`,
    '  Copy the volume out of Osaka, bit for bit (the copy is read-only until a failover):',
    `    nbdcopy ${osaka?.nbd}/${volumeName} copy.img && fsck.fat -n copy.img`,
    '  Slow, cut and heal the link:',
    `    ${cli} --rate 10mbit --delay 50ms`,
    `    ${cli} --cut`,
    `    ${cli} --heal --rate unlimited --delay 0ms`,
    '  Lose London: with the link cut, fail over to Osaka:',
    `    curl -sk ${login(osaka)} -X POST -H 'content-type: application/json' -d '{"is_planned":false}' \\`,
    `      ${osaka?.url}/api/rest/replication_session/${session.id}/failover`,
    '  Go through the whole story with every byte checked:',
    `    npx antipode drill --dir ${dir}`,
    '',
    'Ctrl-C stops the lab; starting it again keeps everything.',
    '',
  ].join('\n');
}
