import type { ResourceSpec } from '../resource.ts';
import { hiddenViews } from './hidden-views.ts';
import { hostResources } from './hosts.ts';
import { identityResources } from './identity.ts';
import { metricsResources } from './metrics.ts';
import { networkResources } from './network.ts';
import { platformResources } from './platform.ts';
import { protectionResources } from './protection.ts';
import { qosResources } from './qos.ts';
import { storageResources } from './storage.ts';

/** Every resource of the interface, by name. Routes, queries, documentation and clients read this. */
export const resources: Readonly<Record<string, ResourceSpec>> = Object.fromEntries(
  [
    ...storageResources,
    ...hostResources,
    ...protectionResources,
    ...qosResources,
    ...platformResources,
    ...identityResources,
    ...networkResources,
    ...hiddenViews,
    ...metricsResources,
  ].map((resource) => [resource.name, resource]),
);
