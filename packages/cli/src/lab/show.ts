import { showDuration, showRate, showSize } from '../options/parsers.ts';
import type { LabStatus } from './control-protocol.ts';
import type { LinkState } from './link/link.ts';
import type { LabRecord } from './record.ts';

/** The link's state as one line. */
export function showLink({ state, rate_bps, delay_ms, connections, passed_bytes }: LinkState): string {
  const delay = delay_ms === 0 ? 'no delay' : `delay ${showDuration(delay_ms)}`;
  return `link ${state}, rate ${showRate(rate_bps)}, ${delay}, ${connections} connections, ${showSize(passed_bytes)} passed`;
}

/** The state of the lab, passwords included: whoever may read the record owns the lab. */
export function showStatus({ sites, clock_rate, link }: LabStatus, record: LabRecord | undefined): string {
  const lines = sites.flatMap(({ name, url, nbd, username, state, pid, restarts }) => {
    const again = restarts === 0 ? '' : `, started again ${restarts} times`;
    const password = record?.sites.find((site) => site.name === name)?.password ?? '(in lab.json)';
    return [
      `${name}: ${state}${pid === null ? '' : ` (process ${pid}${again})`}`,
      `  REST      ${url}`,
      `  User      ${username}`,
      `  Password  ${password}`,
      `  NBD       ${nbd}`,
    ];
  });
  const pace = clock_rate === 1 ? [] : [`time: dates and schedules pass ${clock_rate} times as fast as real time`];
  return `${[...lines, ...pace, showLink(link)].join('\n')}\n`;
}
