/** Runs a callback once this turn's events have been handled: all requests that arrived together share one group. */
export type EndOfTurn = (callback: () => void) => void;

export const endOfTurn: EndOfTurn = (callback) => {
  setImmediate(callback);
};

/** Lets everything else that waits have its turn: between the pieces of background work. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
