/** Runs a callback once this turn's events have been handled: all requests that arrived together share one group. */
export type EndOfTurn = (callback: () => void) => void;

export const endOfTurn: EndOfTurn = (callback) => {
  setImmediate(callback);
};
