import { embeddedFormats } from '@antipode/blocks';
import {
  channelVersion,
  oldestChannelVersion,
  oldestPeerProtocolVersion,
  peerProtocolVersion,
} from '@antipode/replication';
import { oldestSchemaVersion, schemaVersion } from '../catalog/schema-version.ts';
import { localProtocolVersion, oldestLocalProtocolVersion } from '../local/methods.ts';

/** Versions of one format or protocol: the newest is the one that is written, the oldest the last that is still read. */
export interface FormatRange {
  readonly oldest: number;
  readonly newest: number;
}

/** Every format on disk and on the wire that two releases have to agree on [C9.4]. */
export const formats: Readonly<Record<string, FormatRange>> = {
  ...embeddedFormats,
  catalog: { oldest: oldestSchemaVersion, newest: schemaVersion },
  local_protocol: { oldest: oldestLocalProtocolVersion, newest: localProtocolVersion },
  management_channel: { oldest: oldestPeerProtocolVersion, newest: peerProtocolVersion },
  data_channel: { oldest: oldestChannelVersion, newest: channelVersion },
};

/**
 * What stands between two releases, in words; empty: either can take over from the other. What the other one writes has to be read
 * in both directions, or there would be no way back.
 */
export function formatConflicts(
  present: Readonly<Record<string, FormatRange>>,
  next: Readonly<Record<string, FormatRange>>,
): readonly string[] {
  const found: string[] = [];
  for (const [name, mine] of Object.entries(present)) {
    const theirs = next[name];
    if (theirs === undefined) continue;
    const words = name.replaceAll('_', ' ');
    if (mine.newest < theirs.oldest || mine.newest > theirs.newest)
      found.push(
        `the new release does not read version ${mine.newest} of the format ${words} (${theirs.oldest} to ${theirs.newest})`,
      );
    else if (theirs.newest > mine.newest || theirs.newest < mine.oldest)
      found.push(
        `what the new release writes as format ${words} (version ${theirs.newest}) could not be read after a roll back (${mine.oldest} to ${mine.newest})`,
      );
  }
  return found;
}
