import { resources } from '@antipode/contract';

/** Every changing operation that the specifications name, as handlers are registered: `volume.create`. */
export const operationNames: readonly string[] = Object.values(resources).flatMap((resource) =>
  [
    ...(resource.create ? ['create'] : []),
    ...(resource.modify ? ['modify'] : []),
    ...(resource.remove ? ['delete'] : []),
    ...Object.keys(resource.actions),
    ...Object.keys(resource.collectionActions ?? {}),
  ].map((operation) => `${resource.name}.${operation}`),
);
