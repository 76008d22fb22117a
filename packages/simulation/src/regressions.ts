/** What is aimed at moments. */
const aimed = 'end_unheard,old_offer,delete_copies,unheard_turn,older_catalog,refuse_snapshot';

/** Runs that have found something wrong: each failed until it was put right, and is run again ever since. */
export const regressions: readonly {
  readonly name: string;
  readonly seed: number;
  readonly hours: number;
  readonly calm: number;
  /** Kinds of faults that the simulator has learned since, without which the history is what it was. */
  readonly without?: string;
}[] = [
  // A pause that came again after its resume paused the source once more, and nothing told it that the destination was awake.
  {
    name: 'a pause that was over came again',
    seed: 6,
    hours: 16,
    calm: 1,
    without: `rot,misread,unprotect,lose_whole_catalog,rot_header,${aimed}`,
  },
  // A destination took an old word of its source for news; with an older catalog it had forgotten that it was activated.
  {
    name: 'a destination that follows what is long past',
    seed: 52,
    hours: 168,
    calm: 8,
    without: `rot,misread,unprotect,lose_whole_catalog,rot_header,${aimed}`,
  },
  // A source took its base back because a destination's words came again that were older than its last commit: every cycle was refused since,
  // because its points were there already.
  {
    name: 'a source goes back to an older base',
    seed: 9017,
    hours: 12,
    calm: 8,
    without: `rot,misread,unprotect,lose_whole_catalog,rot_header,${aimed}`,
  },
  // The same, with a target that was gone with the base.
  {
    name: 'a source that has lost its target',
    seed: 9020,
    hours: 96,
    calm: 8,
    without: `rot,misread,unprotect,lose_whole_catalog,rot_header,${aimed}`,
  },
  // A disk that failed while a segment's file was made, or was kept to be used again, left a file that nobody knew of until the next start.
  {
    name: 'a file that nobody knows of',
    seed: 20212,
    hours: 18,
    calm: 1,
    without: `misread,unprotect,lose_whole_catalog,rot_header,${aimed}`,
  },
  // A session whose half was gone before the catalog heard of it left its alert behind.
  {
    name: 'an alert about a session that is over',
    seed: 511,
    hours: 7,
    calm: 1,
    without: `lose_whole_catalog,rot_header,${aimed}`,
  },
  // A process that died at the birth of a session left the copy of a policy that protects nothing.
  {
    name: 'a policy without anything to protect',
    seed: 30125,
    hours: 5,
    calm: 12,
    without: `lose_whole_catalog,rot_header,${aimed}`,
  },
  // A process that died between a reprotection and the policy's becoming this side's own left a source under a copy.
  { name: 'a source under the copy of a policy', seed: 41009, hours: 5, calm: 12, without: aimed },
  // Hosts whose look at a volume was never answered, because its process died, never came back to it: nothing wrote its damaged blocks again.
  {
    name: 'a look that nobody answered',
    seed: 7,
    hours: 15,
    calm: 1,
    without: `lose_whole_catalog,rot_header,${aimed}`,
  },
  // A data plane that died between the record of a fence and its answer left what had diverged where nobody saw it until the next start.
  {
    name: 'what diverged and nobody sees',
    seed: 30126,
    hours: 5,
    calm: 12,
    without: `lose_whole_catalog,rot_header,${aimed}`,
  },
];
