import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Clock, Random } from '@antipode/base';
import { administratorRole, RestError } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import type { LocalUserDocument, LocalUserPrivate } from '../catalog/documents.ts';
import { hashPassword, verifyPassword } from './passwords.ts';

/** Who makes a request. */
export interface Principal {
  readonly user: string;
  readonly roleIds: readonly string[];
  readonly isBuiltIn: boolean;
  /** The password was chosen by somebody else: nothing else is possible until it is changed. */
  readonly mustChangePassword: boolean;
  /** Set when the request came with, or opened, a login session. */
  readonly session?: { readonly id: string; readonly cookie: string; readonly token: string };
}

const limits = {
  /** How long a login that nobody uses lasts, unless told otherwise. */
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
    return this.#catalog.get('security_config', '1')?.idle_timeout ?? limits.idle_s;
  }

  /** Makes the first administrator, once; answers the password if it had to be made up. */
  async ensureFirstAdministrator(given: string | undefined): Promise<string | undefined> {
    if (this.#catalog.count('local_user') > 0) return undefined;
    const password = given ?? `A1-${Buffer.from(this.#random.bytes(15)).toString('base64url')}`;
    const user: LocalUserDocument = {
      id: '1',
      name: 'admin',
      role_id: administratorRole,
      is_built_in: true,
      is_default_password: given === undefined,
      is_locked: false,
      is_mfa_bypass: true,
      mfa_alias: null,
      password_expiration_timestamp: null,
    };
    const hidden: LocalUserPrivate = { hash: await hashPassword(password), changeRequired: false };
    this.#catalog.put('local_user', user, hidden);
    return given === undefined ? password : undefined;
  }

  /** Checks user and password; wrong ones cost more time the oftener they come. */
  async basic(name: string, password: string, from: string): Promise<Principal> {
    const user = this.#catalog.list('local_user', 'name', name)[0];
    const hidden = user && this.#catalog.private<LocalUserPrivate>('local_user', user.id);
    const digest = createHmac('sha256', this.#secret)
      .update(JSON.stringify([name, password, hidden?.hash ?? '']))
      .digest('hex');
    const now = this.#clock.monotonic();
    const known = this.#remembered.get(digest);
    if (known !== undefined && known > now && user !== undefined && !user.is_locked) return this.#principal(user);
    const key = `${name} ${from}`;
    const failed = this.#failures.get(key);
    if (failed !== undefined && failed.until > now)
      throw new RestError('locked_out', String(Math.ceil((failed.until - now) / 1000)));
    // An unknown user costs the same time as a wrong password.
    const right = hidden === undefined ? await this.#never(password) : await verifyPassword(hidden.hash, password);
    if (!right || user === undefined || user.is_locked) {
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
    return this.#principal(user);
  }

  async #never(password: string): Promise<false> {
    await hashPassword(password);
    return false;
  }

  /** The principal of a cookie, if its session is alive. */
  cookie(cookie: string): Principal | undefined {
    const session = this.#sessions.get(cookie);
    if (session === undefined) return undefined;
    const now = this.#clock.monotonic();
    if (now - session.usedAt > this.idleTimeout_s * 1000) {
      this.#sessions.delete(cookie);
      return undefined;
    }
    const user = this.#catalog.list('local_user', 'name', session.user)[0];
    if (user === undefined || user.is_locked) return undefined;
    session.usedAt = now;
    return { ...this.#principal(user), session: { id: session.id, cookie: session.cookie, token: session.token } };
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

  /** Ends a user's logins, but for one. */
  endSessionsOf(name: string, except: string | undefined): void {
    for (const { cookie, user } of [...this.#sessions.values()])
      if (user === name && cookie !== except) this.#sessions.delete(cookie);
  }

  /** Forgets a user's failures: there is nothing to wait for any more. */
  forgive(name: string): void {
    for (const key of [...this.#failures.keys()]) if (key.startsWith(`${name} `)) this.#failures.delete(key);
  }

  #principal(user: LocalUserDocument): Principal {
    return {
      user: user.name,
      roleIds: [user.role_id],
      isBuiltIn: user.is_built_in,
      mustChangePassword: this.#catalog.private<LocalUserPrivate>('local_user', user.id)?.changeRequired ?? false,
    };
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
