/** The user asked for something that cannot be: one line for them, exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** What was asked for is clear but cannot be done now: one line for them, exit code 1. */
export class CommandError extends Error {
  override name = 'CommandError';
}
