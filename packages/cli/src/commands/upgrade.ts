import { statSync } from 'node:fs';
import { ApiError, type Client, ConnectionError } from '@antipode/client';
import { ProgressBar } from '../drill/progress-bar.ts';
import { limits } from '../limits.ts';
import { commandHelp } from '../options/help.ts';
import { showSize } from '../options/parsers.ts';
import { readOptions } from '../options/read.ts';
import { upgradeOptions } from '../options/tables.ts';
import { CommandError, UsageError } from '../options/usage-error.ts';
import { asCommandError, connectCluster } from './connect-cluster.ts';
import type { Command, CommandContext } from './context.ts';

/** Uploads a package, looks whether it can be installed, has it installed and follows that. Exit codes: 0 done, 1 not, 2 usage. */
export const upgrade: Command = async (context) => {
  const { values, help } = readOptions(upgradeOptions, context);
  if (help) {
    context.out(commandHelp('upgrade'));
    return 0;
  }
  const { file, package: known, check, json } = values;
  if ((file === undefined) === (known === undefined)) throw new UsageError('either --file or --package is required');
  const client = await connectCluster(values);
  const bar = new ProgressBar(context.err, context.isTerminal && !json);
  try {
    const id = file === undefined ? String(known) : await upload(client, file, bar);
    await client.action('software_package', id, 'puhc');
    if (!check) {
      const job = await client.startJob('POST', `software_package/${encodeURIComponent(id)}/install`);
      await follow(client, job, bar, context);
    }
    const { build_version, software_package_state } = await client.get('software_package', id);
    context.out(
      json
        ? `${JSON.stringify({ id, build_version, software_package_state })}\n`
        : check
          ? `${build_version} could be installed now\n`
          : `${build_version} runs\n`,
    );
    return 0;
  } catch (error) {
    throw asCommandError(error);
  } finally {
    bar.clear();
    await client.close();
  }
};

async function upload(client: Client, file: string, bar: ProgressBar): Promise<string> {
  const { size } = statSync(file);
  bar.begin('uploading');
  const id = await client.upload('software_package', 'upload_file', file, (sent) =>
    bar.show(size === 0 ? 1 : sent / size, `${showSize(sent)} of ${showSize(size)}`),
  );
  bar.clear();
  return id;
}

async function follow(client: Client, id: string, bar: ProgressBar, context: CommandContext): Promise<void> {
  bar.begin('upgrading');
  for (;;) {
    await context.clock.sleep(limits.poll_ms, context.stop).catch(() => undefined);
    if (context.stop.aborted) throw new CommandError(`the upgrade goes on in the cluster; it is job ${id}`);
    const job = await look(client, id);
    if (job === undefined) continue;
    if (job.state === 'COMPLETED') return;
    if (job.state === 'FAILED') throw new CommandError(reasonOf(job.response_body));
    bar.show(Number(job.progress_percentage ?? 0) / 100, await partOf(client, id));
  }
}

/** The job, or nothing while the management process is being exchanged. */
async function look(client: Client, id: string) {
  try {
    return await client.get('job', id);
  } catch (error) {
    if (error instanceof ConnectionError || (error instanceof ApiError && error.status >= 500)) return undefined;
    throw error;
  }
}

async function partOf(client: Client, id: string): Promise<string> {
  const filter = { parent_id: `eq.${id}`, state: 'eq.IN_PROGRESS' };
  const part = await client.first('job', { select: 'description_l10n', filter }).catch(() => undefined);
  return String((part as { description_l10n?: unknown } | undefined)?.description_l10n ?? '');
}

function reasonOf(body: unknown): string {
  const { messages } = (body ?? {}) as { readonly messages?: readonly { readonly message_l10n?: string }[] };
  return messages?.map(({ message_l10n }) => message_l10n).join('; ') ?? 'the upgrade did not succeed';
}
