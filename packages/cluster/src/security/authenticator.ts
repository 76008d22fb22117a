import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Clock, Random } from '@antipode/base';
import { RestError } from '@antipode/contract';
import { hash, verify } from '@node-rs/argon2';
import type { Catalog } from '../catalog/catalog.ts';
import type { UserDocument } from '../catalog/documents.ts';

/** Who makes a request. */
export interface Principal {
  readonly user: string;
  readonly roleIds: readonly string[];
  readonly isBuiltIn: boolean;
  /** Set when the request came with, or opened, a login session. */
  readonly session?: { readonly id: string; readonly cookie: string; readonly token: string };
}

export const administratorRole = '1';
export const operatorRole = '3';

const limits = {
  idle_s: 36_000,
  /** Sessions at once: the least recently used one ends when another begins. */
  sessions: 10_000,
  /** Failures of one user from one address before it has to wait, and how long at first. */
  failures: 5,
  wait_ms: 10_000,
  waitMost_ms: 600_000,
  /** Remembered right passwords, so that Basic on every request does not cost a slow hash each time. */
  remembered: 1_000,
  remember_ms: 60_000,
} as const;

/** OWASP's second choice of argon2id parameters: 19 MiB, two passes, one lane. */
const argon2id = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;

interface Session {
  readonly id: string;
  readonly cookie: string;
  readonly token: string;
  readonly user: string;
  usedAt: number;
}

/** Users, passwords and login sessions (REPLICATION 6). */
export class Authenticator {
  readonly #catalog: Catalog;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #sessions = new Map<string, Session>();
  readonly #failures = new Map<string, { count: number; until: number }>();
  readonly #remembered = new Map<string, number>();
  readonly #secret: Uint8Array;

  constructor(catalog: Catalog, clock: Clock, random: Random) {
    this.#catalog = catalog;
    this.#clock = clock;
    this.#random = random;
    this.#secret = random.bytes(32);
  }

  get idleTimeout_s(): number {
    return limits.idle_s;
  }

  /** Makes the first administrator, once; answers the password if it had to be made up. */
  async ensureFirstAdministrator(given: string | undefined): Promise<string | undefined> {
    if (this.#catalog.count('user') > 0) return undefined;
    const password = given ?? `A1-${Buffer.from(this.#random.bytes(15)).toString('base64url')}`;
    const user: UserDocument = {
      id: '1',
      name: 'admin',
      hash: await hash(password, argon2id),
      role_ids: [administratorRole],
      is_built_in: true,
    };
    this.#catalog.put('user', user);
    return given === undefined ? password : undefined;
  }

  /** Checks user and password; wrong ones cost more time the oftener they come. */
  async basic(name: string, password: string, from: string): Promise<Principal> {
    const user = this.#catalog.list('user', 'name', name)[0];
    const digest = createHmac('sha256', this.#secret)
      .update(JSON.stringify([name, password, user?.hash ?? '']))
      .digest('hex');
    const now = this.#clock.monotonic();
    const known = this.#remembered.get(digest);
    if (known !== undefined && known > now && user !== undefined) return principalOf(user);
    const key = `${name} ${from}`;
    const failed = this.#failures.get(key);
    if (failed !== undefined && failed.until > now)
      throw new RestError('locked_out', String(Math.ceil((failed.until - now) / 1000)));
    // An unknown user costs the same time as a wrong password.
    const right = user === undefined ? await this.#never(password) : await verify(user.hash, password);
    if (!right || user === undefined) {
      // Read again: others may have failed while this one was checked, and those that come at once count each.
      const count = (this.#failures.get(key)?.count ?? 0) + 1;
      const wait =
        count < limits.failures ? 0 : Math.min(limits.wait_ms * 2 ** (count - limits.failures), limits.waitMost_ms);
      if (this.#failures.size > limits.remembered) this.#failures.clear();
      this.#failures.set(key, { count, until: now + wait });
      throw new RestError('unauthenticated');
    }
    this.#failures.delete(key);
    if (this.#remembered.size >= limits.remembered) this.#remembered.clear();
    this.#remembered.set(digest, now + limits.remember_ms);
    return principalOf(user);
  }

  async #never(password: string): Promise<false> {
    await hash(password, argon2id);
    return false;
  }

  /** The principal of a cookie, if its session is alive. */
  cookie(cookie: string): Principal | undefined {
    const session = this.#sessions.get(cookie);
    if (session === undefined) return undefined;
    const now = this.#clock.monotonic();
    if (now - session.usedAt > limits.idle_s * 1000) {
      this.#sessions.delete(cookie);
      return undefined;
    }
    const user = this.#catalog.list('user', 'name', session.user)[0];
    if (user === undefined) return undefined;
    session.usedAt = now;
    return { ...principalOf(user), session: { id: session.id, cookie: session.cookie, token: session.token } };
  }

  /** Opens a login session. */
  open(principal: Principal): Principal {
    if (this.#sessions.size >= limits.sessions) {
      let oldest: Session | undefined;
      for (const session of this.#sessions.values())
        if (oldest === undefined || session.usedAt < oldest.usedAt) oldest = session;
      if (oldest !== undefined) this.#sessions.delete(oldest.cookie);
    }
    const secret = () => Buffer.from(this.#random.bytes(32)).toString('base64url');
    const session: Session = {
      id: this.#random.uuid(),
      cookie: secret(),
      token: secret(),
      user: principal.user,
      usedAt: this.#clock.monotonic(),
    };
    this.#sessions.set(session.cookie, session);
    return { ...principal, session: { id: session.id, cookie: session.cookie, token: session.token } };
  }

  logout(cookie: string): void {
    this.#sessions.delete(cookie);
  }
}

/** Compares secrets in a time that says nothing about where they differ. */
export function sameSecret(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}

const principalOf = (user: UserDocument): Principal => ({
  user: user.name,
  roleIds: user.role_ids,
  isBuiltIn: user.is_built_in,
});
