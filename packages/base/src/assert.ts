/** Programmer errors are assertions: always on, they end the process, and its supervisor restarts it. */
export class AssertionError extends Error {
  override name = 'AssertionError';
}

/** Throws when a condition that the code relies on does not hold. Never used for anything a user or a peer can cause. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Makes a `switch` over a tagged union exhaustive at compile time. */
export function assertNever(value: never): never {
  throw new AssertionError(`unexpected value: ${JSON.stringify(value)}`);
}
