/** A cluster, or its data plane, that goes away in the middle of a call: no answer of its own. */
export const isAway = (error: unknown): boolean =>
  error instanceof Error && (error.name === 'DataPlaneAway' || error.name === 'BlockError' || error.name === 'Absent');
