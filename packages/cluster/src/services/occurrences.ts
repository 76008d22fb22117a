import type { Clock, Random } from '@antipode/base';
import { display, type EnumValue } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import { type Documents, timestamp } from '../catalog/documents.ts';
import { isMediumRefusal, isTaken } from '../catalog/medium-errors.ts';
import { restLimits } from '../rest/limits.ts';
import type { Told } from './webhook.ts';

interface Occurrence {
  readonly code: string;
  readonly severity: EnumValue<'Severity'>;
  /** `{0}` is the resource's name, `{1}` what else there is to say. */
  readonly text: string;
  readonly impact: string;
  readonly remedy: string;
  /** An alert stays until it is cleared; an event only tells. */
  readonly alert?: true;
  /** What is said tells two of them apart: each is an alert of its own, and the same again is nothing new. */
  readonly each?: true;
}

const told = (code: string, severity: Occurrence['severity'], text: string, impact = '', remedy = ''): Occurrence => ({
  code,
  severity,
  text,
  impact,
  remedy,
});
const raised = (
  code: string,
  severity: Occurrence['severity'],
  text: string,
  impact: string,
  remedy: string,
): Occurrence => ({ code, severity, text, impact, remedy, alert: true });

/** Everything that operators are told of, with stable codes. */
export const occurrences = {
  cycle_started: told('0x02010101', 'Info', 'A synchronization of {0} has started ({1}).'),
  synchronized: told('0x02010102', 'Info', '{0} is synchronized; it took {1} ms.'),
  session_parked: raised(
    '0x02010103',
    'Major',
    'The session of {0} was paused by the system: {1}',
    'The copy gets older.',
    'Remove the cause; the session goes on by itself.',
  ),
  sessions_parked: raised(
    '0x02010205',
    'Major',
    'More sessions with the remote system {0} were paused by the system because it cannot be reached.',
    'Their copies get older; each session shows it in its state.',
    'Check the network and the peer; they go on by themselves.',
  ),
  session_paused: told(
    '0x02010104',
    'Info',
    'The session of {0} is paused ({1}).',
    'Changes accumulate at the source.',
  ),
  session_resumed: told('0x02010105', 'Info', 'The session of {0} goes on.'),
  session_suspended: told(
    '0x02010115',
    'Info',
    'The session of {0} is paused by the system for {1}.',
    'Changes accumulate at the source.',
    'None: it goes on by itself.',
  ),
  suspension_lifted: told('0x02010116', 'Info', 'The session of {0} is no longer paused by the system.'),
  migration_created: told('0x02060101', 'Info', '{0} was made: to appliance {1}.'),
  migration_started: told('0x02060102', 'Info', '{0} is copying.'),
  migration_synchronized: told('0x02060103', 'Info', '{0} has copied everything; the cutover can follow.'),
  migration_completed: told('0x02060104', 'Info', '{0} is complete: appliance {1} serves what moved.'),
  migration_parked: raised(
    '0x02060105',
    'Major',
    '{0} was paused by the system: {1}',
    'Hosts are served by the appliance that they were served by.',
    'Remove the cause, and resume the migration.',
  ),
  failover_started: told('0x02010106', 'Minor', 'A failover of {0} has started ({1}).'),
  failed_over: told(
    '0x02010107',
    'Minor',
    '{0} has failed over; generation {1}.',
    'Hosts can write at this site.',
    'Reprotect to copy in the new direction.',
  ),
  test_started: told(
    '0x02010111',
    'Info',
    'A failover test of {0} has started.',
    'Hosts can write to the tested image at this site; copying goes on.',
    'Stop the test when it is over.',
  ),
  test_stopped: told('0x02010112', 'Info', 'The failover test of {0} was stopped; what it has written is {1}.'),
  rpo_missed: raised(
    '0x02010113',
    'Minor',
    'The copy of {0} is older than its objective allows (age, objective: {1}).',
    'A failover now would lose more than was agreed.',
    'Look at the state of the session, the link and the bytes that remain; give it more time or a longer objective.',
  ),
  rpo_met: told('0x02010114', 'Info', 'The copy of {0} meets its objective again; its age is {1}.'),
  failover_aborted: told(
    '0x02010108',
    'Major',
    'The failover of {0} was given up: {1}',
    'Hosts go on at the source.',
    'Remove the cause and try again.',
  ),
  failover_in_doubt: raised(
    '0x02010109',
    'Critical',
    'The failover of {0} waits for the peer: its answer is missing.',
    'The volume takes no writes until there is contact.',
    'Restore the link, or fail over unplanned at the destination.',
  ),
  fenced: told(
    '0x0201010A',
    'Major',
    '{0} is no longer the source; {1} bytes that it held beyond the common base are kept as a snapshot.',
    'Hosts cannot write at this site any more.',
    'Look at the diverged snapshot before it expires.',
  ),
  reprotected: told('0x0201010B', 'Info', '{0} is protected in the new direction.'),
  base_lost: told(
    '0x0201010C',
    'Minor',
    'The common base of {0} was lost: the {1} is shipped.',
    'The next synchronization takes longer.',
  ),
  members_changed: told(
    '0x02010120',
    'Info',
    'The members of {0} have changed: {1}.',
    'At the destination they change with the next copy.',
  ),
  snapshots_left_out: told(
    '0x02010121',
    'Minor',
    '{1} snapshots of {0} were too many for one synchronization and are not copied; the newest are.',
    'The destination has fewer snapshots than the source.',
    'Synchronize more often, or take fewer snapshots.',
  ),
  session_created: told('0x0201010D', 'Info', 'A replication session of {0} was created.'),
  session_deleted: told(
    '0x0201010E',
    'Info',
    'The replication session of {0} was deleted ({1}).',
    'There is no protection by replication.',
  ),
  protection_lost: raised(
    '0x0201010F',
    'Major',
    'The peer deleted the session of {0} while it was the source here.',
    'The volume is usable and unprotected.',
    'Assign a protection policy again.',
  ),
  protection_waits: raised(
    '0x02010122',
    'Major',
    '{0} has a protection policy and no replication session yet: {1}',
    'Nothing of it is copied.',
    'Remove the cause; the session begins by itself. Or assign another policy, or none.',
  ),
  session_split: raised(
    '0x02010110',
    'Critical',
    'The session of {0} is stopped: {1}',
    'Nothing is copied.',
    'Decide which side is right and delete the session on the other.',
  ),
  snapshots_missed: told(
    '0x02030101',
    'Minor',
    'Rule {0} was due {1} times while its snapshots could not be taken; one snapshot of each volume stands for all of them.',
    'There are no snapshots of those moments.',
  ),
  snapshot_failed: raised(
    '0x02030102',
    'Major',
    'A scheduled snapshot of {0} could not be taken ({1}).',
    'There is no snapshot of this moment.',
    'Remove the cause; the rule goes on when it is due again.',
  ),
  upgrade_started: told('0x02050101', 'Info', 'An upgrade to {0} has started.', 'Hosts wait for a moment.'),
  upgraded: told('0x02050102', 'Info', 'The upgrade to {0} is complete.'),
  upgrade_failed: raised(
    '0x02050103',
    'Major',
    'The upgrade to {0} did not succeed, and the release of before runs: {1}',
    'The cluster works as before.',
    'Look at the log of the cluster; the next upgrade that succeeds clears this.',
  ),
  upgrade_warning: told('0x02050104', 'Minor', 'A look before the upgrade to {0} has found: {1}'),
  webhook_failing: raised(
    '0x02040101',
    'Minor',
    'Notifications of {0} do not arrive: {1}.',
    'What operators are told of is here alone.',
    'Look at the receiver; notifications that wait are sent when it answers again.',
  ),
  clock_paced: raised(
    '0x02040102',
    'Info',
    'The time of {0} is a lab’s: dates and schedules pass {1} times as fast as real time.',
    'Dates are not those of the world outside; what waits for processes, networks and people is not hurried.',
    'Start the lab without --clock-rate.',
  ),
  certificate_expires: raised(
    '0x02040103',
    'Major',
    'The certificate of the REST interface of {0} expires at {1}.',
    'Clients that look at it refuse the connection from then on.',
    'Give another certificate, or have it made anew with x509_certificate/reset_certificates; one given in files is changed there.',
  ),
  link_certificate_expires: raised(
    '0x02040104',
    'Major',
    'The certificate with which {0} proves itself to its remote systems expires at {1}.',
    'They refuse its connections from then on, and copies get older.',
    'Have a new one made at the next start (docs/operations.md), and exchange certificates again with each remote system.',
  ),
  link_lost: raised(
    '0x02010201',
    'Major',
    'The remote system {0} cannot be reached.',
    'Copies get older.',
    'Check the network and the peer.',
  ),
  link_back: told('0x02010202', 'Info', 'The remote system {0} can be reached again.'),
  paired: told('0x02010203', 'Info', 'Paired with the remote system {0}.'),
  unpaired: told('0x02010204', 'Info', 'The remote system {0} was removed.'),
  damage: {
    ...raised(
      '0x02020101',
      'Critical',
      'Stored data of {0} is damaged: {1}',
      'The blocks concerned cannot be read.',
      'Restore them from a snapshot or from the peer; a scrub that finds nothing clears this.',
    ),
    each: true,
  },
  writes_stopped: raised(
    '0x02020102',
    'Critical',
    'Appliance {0} takes no writes: {1}',
    'Hosts get errors.',
    'Add space or repair the medium; it goes on by itself.',
  ),
  writes_resumed: told('0x02020103', 'Info', 'Appliance {0} takes writes again.'),
  catalog_stopped: raised(
    '0x02020105',
    'Critical',
    'The catalog of {0} cannot be written: {1}',
    'Nothing can be changed, and sessions stand still; what there is can be read, and hosts are served.',
    'Add space or repair the medium; it goes on by itself.',
  ),
  catalog_resumed: told('0x02020106', 'Info', 'The catalog of {0} takes changes again.'),
  unexplained: raised(
    '0x02020104',
    'Major',
    'The engine holds {0}, which the catalog does not know: {1}',
    'It is kept and hidden.',
    'Restore the catalog, or rebuild it from the log.',
  ),
} as const satisfies Readonly<Record<string, Occurrence>>;
export type OccurrenceName = keyof typeof occurrences;

export interface About {
  readonly type: string;
  readonly id: string;
  readonly name: string;
}

/** Writes events and alerts. */
export class Reporter {
  readonly #catalog: Catalog;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #listeners: ((told: Told) => void)[] = [];

  constructor(catalog: Catalog, clock: Clock, random: Random) {
    this.#catalog = catalog;
    this.#clock = clock;
    this.#random = random;
  }

  /** Called with everything that is told from now on, once it is durable. */
  listen(listener: (told: Told) => void): void {
    this.#listeners.push(listener);
  }

  /** Tells of something; an alert of the same kind about the same thing is raised once until it is cleared. */
  tell(name: OccurrenceName, about: About, detail = ''): void {
    const entry: Occurrence = occurrences[name];
    const now = timestamp(this.#clock.now());
    const description = entry.text.replace('{0}', () => about.name).replace('{1}', () => detail);
    if (entry.each && this.#active(name, about).some((alert) => alert.description_l10n === description)) return;
    const event = {
      id: this.#random.uuid(),
      event_code: entry.code,
      severity: entry.severity,
      resource_type: about.type,
      resource_id: about.id,
      resource_name: about.name,
      generated_timestamp: now,
      description_l10n: description,
      system_impact_l10n: entry.impact,
      repair_flow_l10n: entry.remedy,
    };
    const isNew = entry.alert === true && (entry.each === true || this.#active(name, about).length === 0);
    const alert: Documents['alert'] | undefined = isNew
      ? {
          ...event,
          state: 'ACTIVE',
          is_acknowledged: false,
          acknowledged_timestamp: null,
          raised_timestamp: now,
          cleared_timestamp: null,
          events: [
            { ...event, severity_l10n: display(entry.severity), resource_type_l10n: display(String(about.type)) },
          ],
        }
      : undefined;
    try {
      this.#catalog.transaction(() => {
        this.#catalog.put('event', event);
        this.#catalog.trim('event', restLimits.events);
        if (alert !== undefined) this.#catalog.put('alert', alert);
      });
    } catch (error) {
      // A full or failing medium is what operators must hear of first.
      if (!isMediumRefusal(error)) throw error;
      this.#catalog.keepAside('event', event);
      if (alert !== undefined) this.#catalog.keepAside('alert', alert);
    }
    this.#pass({ kind: 'event', event });
    if (alert !== undefined) this.#pass({ kind: 'alert_raised', alert });
  }

  /** It is over: the alert about it, if there is one, is cleared. */
  clear(name: OccurrenceName, about: About): void {
    for (const alert of this.#active(name, about)) this.clearOne(alert.id);
  }

  /** Alerts of a kind that are not over, about anything. */
  active(name: OccurrenceName) {
    return this.#catalog
      .list('alert', 'state', 'ACTIVE')
      .filter((alert) => alert.event_code === occurrences[name].code);
  }

  clearOne(id: string): void {
    const alert = this.#catalog.get('alert', id);
    if (alert === undefined) return;
    const cleared = { ...alert, state: 'CLEARED', cleared_timestamp: timestamp(this.#clock.now()) } as const;
    this.#catalog.tell('alert', cleared);
    this.#trimAlerts();
    this.#pass({ kind: 'alert_cleared', alert: cleared });
  }

  /** Whether there is an alert about it that has not been cleared. */
  isRaised(name: OccurrenceName, about: About): boolean {
    return this.#active(name, about).length > 0;
  }

  /** What is over is kept up to a bound; what is active always. */
  #trimAlerts(): void {
    isTaken(() => this.#catalog.trimWhere('alert', 'state', 'CLEARED', restLimits.alerts));
  }

  #pass(told: Told): void {
    for (const listener of this.#listeners) listener(told);
  }

  #active(name: OccurrenceName, about: About) {
    return this.#catalog
      .list('alert', 'resource_id', about.id)
      .filter((alert) => alert.state === 'ACTIVE' && alert.event_code === occurrences[name].code);
  }
}
