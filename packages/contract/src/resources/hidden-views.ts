import type { ResourceSpec } from '../resource.ts';
import { volume, volumeGroup } from './storage.ts';

/** Collections that PowerStore does not publish and that its clients read: the same rows under another name, snapshots left out. */
const viewOf = ({ name, fields }: ResourceSpec): ResourceSpec => ({
  name: `${name}_list_cma_view`,
  description: `Every ${name.replaceAll('_', ' ')} but snapshots.`,
  byName: false,
  noInstance: true,
  hidden: 'always',
  fields,
  associations: {},
  actions: {},
});

export const hiddenViews = [viewOf(volume), viewOf(volumeGroup)] as const;
