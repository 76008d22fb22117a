import type { StoredDamage } from '@antipode/blocks';
import type { Client } from '@antipode/client';
import { ProgressBar } from '../drill/progress-bar.ts';
import { limits } from '../limits.ts';
import { commandHelp } from '../options/help.ts';
import { showSize } from '../options/parsers.ts';
import { readOptions } from '../options/read.ts';
import { scrubOptions } from '../options/tables.ts';
import { CommandError, UsageError } from '../options/usage-error.ts';
import { asCommandError, connectCluster } from './connect-cluster.ts';
import type { Command, CommandContext } from './context.ts';
import { damageLines } from './damage-lines.ts';

/** As the cluster shows a scrub. */
interface Scrub {
  readonly state: 'running' | 'completed' | 'stopped';
  readonly started_timestamp: string;
  readonly ended_timestamp: string | null;
  readonly verified_bytes: number;
  readonly total_bytes: number;
  readonly damage_count: number;
  readonly damages: readonly StoredDamage[];
}

const path = '/api/antipode/v1/scrub';

/** Has a running cluster verify everything it stores, and follows it. Exit codes: 0 clean, 1 damage or failure, 2 usage. */
export const scrub: Command = async (context) => {
  const { values, help } = readOptions(scrubOptions, context);
  if (help) {
    context.out(commandHelp('scrub'));
    return 0;
  }
  const { rate, status: statusOnly, stop, detach, json } = values;
  if (statusOnly && stop) throw new UsageError('--status and --stop exclude each other');
  const client = await connectCluster(values);
  try {
    let now = await ask(client, statusOnly, stop, rate);
    if (!statusOnly && !stop && !detach) now = await follow(client, now, context, json);
    context.out(json ? `${JSON.stringify(now)}\n` : show(now));
    return now.damage_count === 0 ? 0 : 1;
  } catch (error) {
    throw asCommandError(error);
  } finally {
    await client.close();
  }
};

async function ask(client: Client, statusOnly: boolean, stop: boolean, rate: number | undefined): Promise<Scrub> {
  if (statusOnly) return (await client.request('GET', path)).body as Scrub;
  const answer = stop
    ? await client.request('POST', `${path}/stop`, {})
    : await client.request('POST', path, rate === undefined ? {} : { rate_bytes_per_s: rate });
  return answer.body as Scrub;
}

async function follow(client: Client, begun: Scrub, context: CommandContext, json: boolean): Promise<Scrub> {
  const bar = new ProgressBar(context.err, context.isTerminal && !json);
  bar.begin('verifying');
  let now = begun;
  while (now.state === 'running') {
    const share = now.total_bytes === 0 ? 1 : now.verified_bytes / now.total_bytes;
    bar.show(share, `${showSize(now.verified_bytes)} of ${showSize(now.total_bytes)}, ${now.damage_count} damaged`);
    await context.clock.sleep(limits.poll_ms, context.stop).catch(() => undefined);
    if (context.stop.aborted) {
      bar.clear();
      throw new CommandError('the scrub goes on in the cluster; "antipode scrub --stop" ends it');
    }
    now = (await client.request('GET', path)).body as Scrub;
  }
  bar.clear();
  return now;
}

function show(now: Scrub): string {
  const { state, verified_bytes, total_bytes, damages, damage_count } = now;
  const ended = now.ended_timestamp === null ? '' : `, ended ${now.ended_timestamp}`;
  const lines = [
    `scrub ${state}: ${showSize(verified_bytes)} of ${showSize(total_bytes)} verified; started ${now.started_timestamp}${ended}`,
    ...damages.flatMap(damageLines),
  ];
  if (damage_count > damages.length) lines.push(`  and ${damage_count - damages.length} more`);
  lines.push(damage_count === 0 ? 'no damage was found' : `${damage_count} damages were found`);
  return `${lines.join('\n')}\n`;
}
