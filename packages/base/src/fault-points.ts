/**
 * Places in the code where a process may be made to die, so that the harness can cut it off exactly between two effects that must
 * survive together or in order. In production nobody sets a hook, and passing one is a look at a variable.
 */
let hook: ((name: string) => void) | undefined;

/** Says that this place was reached: `part.what.when`, such as `engine.freeze.durable`. */
export function passFaultPoint(name: string): void {
  hook?.(name);
}

/** Has every pass told from now on; undefined: none, as at the start of a process. */
export function onFaultPoint(told: ((name: string) => void) | undefined): void {
  hook = told;
}
