// The order in which test files are begun: those that take long first, so that none of them is left running alone at the end.
import { BaseSequencer } from 'vitest/node';

/** Parts of paths, the longest first: roughly, as measured where three files run at once. What is not named comes after them, larger files first. */
const longest = [
  'integration/upgrade',
  'integration/crash-harness',
  'integration/hostile-peers',
  'integration/disk-full',
  'integration/migration',
  'integration/group-order',
  'integration/serve',
  'integration/drill',
  'integration/crash.test',
  'integration/integrity',
  'integration/members-any-state',
  'embedded/packing',
  'integration/sessions',
  'integration/hostile-hosts',
  'integration/groups',
  'integration/rules',
  'integration/many-snapshots',
  'integration/bench',
  'integration/conformance',
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
