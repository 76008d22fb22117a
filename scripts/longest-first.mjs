// The order in which test files are begun: those that take long first, so that none of them is left running alone at the end.
import { BaseSequencer } from 'vitest/node';

/** Parts of paths, the longest first: roughly, as measured where three files run at once. What is not named comes after them, larger files first. */
const longest = [
  'integration/upgrade',
  'integration/disk-full',
  'integration/migration',
  'integration/hostile-peers',
  'integration/crash-harness',
  'integration/sessions',
  'integration/hostile-hosts',
  'integration/members-any-state',
  'integration/group-order',
  'integration/crash.test',
  'embedded/packing',
  'integration/groups',
  'integration/rules',
  'integration/drill',
  'integration/bench',
  'integration/conformance',
  'integration/many-snapshots',
  'integration/failover-test',
  'integration/nbd-conformance',
  'simulation/src/simulate',
  'integration/',
  'blocks/src/contract',
  'replication/src',
];

const rank = ({ moduleId }) => {
  const found = longest.findIndex((part) => moduleId.includes(part));
  return found < 0 ? longest.length : found;
};

export default class LongestFirst extends BaseSequencer {
  async sort(files) {
    const others = await super.sort(files);
    return others.toSorted((one, other) => rank(one) - rank(other));
  }
}
