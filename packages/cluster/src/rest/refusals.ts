import type { Clock } from '@antipode/base';
import { RestError } from '@antipode/contract';

const window_ms = 10_000;
const most = 1_000;
/** Refusals that are answered with 403; a client that asks again without end gets another status. */
const patience = 2;

/**
 * What a role does not allow is 403, as it is for a stale token. gopowerstore takes every 403 for the latter: it logs in and sends the
 * request again, without end. Whoever is refused the same thing a third time within seconds is therefore told so with 422, which
 * clients take as it is.
 */
export class RoleRefusals {
  readonly #clock: Clock;
  readonly #seen = new Map<string, { count: number; until: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  of(user: string, operation: string, reason: 'forbidden' | 'password_change_required'): RestError {
    const now = this.#clock.monotonic();
    const key = `${user} ${operation}`;
    const before = this.#seen.get(key);
    const count = before === undefined || before.until < now ? 1 : before.count + 1;
    if (this.#seen.size >= most) this.#seen.clear();
    this.#seen.set(key, { count, until: now + window_ms });
    return count <= patience ? new RestError(reason) : new RestError('forbidden_again', new RestError(reason).message);
  }
}
