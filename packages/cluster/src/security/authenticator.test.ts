import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemRandom } from '@antipode/base';
import { administratorRole } from '@antipode/contract';
import { hash } from '@node-rs/argon2';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalog } from '../catalog/catalog.ts';
import type { LocalUserPrivate } from '../catalog/documents.ts';
import { Authenticator, sameSecret } from './authenticator.ts';

const password = 'correct horse';
let directory: string;
let catalog: Catalog;
let now: number;
let users: Authenticator;
const clock: Clock = {
  now: () => now,
  monotonic: () => now,
  after: () => ({ cancel: () => undefined }),
  sleep: async () => undefined,
};

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'users-'));
  catalog = new Catalog(directory);
  now = 1_000_000;
  users = new Authenticator(catalog, clock, systemRandom);
  await users.ensureFirstAdministrator(password);
});
afterEach(() => {
  catalog.close();
  rmSync(directory, { recursive: true, force: true });
});

const outcome = (given: string, name = 'admin', from = 'here') =>
  users.basic(name, given, from).then(
    () => 'in',
    (error: Error) => error.message,
  );
const wrongUntilLocked = async (from?: string) => {
  for (let n = 0; n < 5; n++) await outcome('wrong', 'admin', from);
};

describe('the first administrator', () => {
  it('is made once, with the password given', async () => {
    expect(await users.ensureFirstAdministrator('another one')).toBeUndefined();
    expect(catalog.list('local_user')).toMatchObject([
      { name: 'admin', role_id: administratorRole, is_built_in: true },
    ]);
    expect(await outcome(password)).toBe('in');
    expect(await outcome('another one')).not.toBe('in');
  });

  it('gets a password of 120 random bits where none is given, told once', async () => {
    catalog.remove('local_user', '1');
    const made = await users.ensureFirstAdministrator(undefined);
    expect(made).toMatch(/^A1-[\w-]{20}$/);
    expect(await outcome(made ?? '')).toBe('in');
    expect(await users.ensureFirstAdministrator(undefined)).toBeUndefined();
  });

  it('has a password that is nowhere in the catalog, only its argon2id hash', () => {
    expect(catalog.private<LocalUserPrivate>('local_user', '1')?.hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    for (const file of ['catalog.db', 'catalog.db-wal'])
      expect(readFileSync(join(directory, file)).includes(password)).toBe(false);
  });
});

describe('failures', () => {
  it('lock one user from one address, with the right password too, for longer each time', async () => {
    await wrongUntilLocked();
    expect(await outcome(password)).toMatch(/\b10\b/);
    expect(await outcome(password, 'admin', 'elsewhere')).toBe('in');
    now += 10_001;
    await outcome('wrong');
    expect(await outcome('wrong')).toMatch(/\b20\b/);
  });

  it('end with a success', async () => {
    for (let n = 0; n < 4; n++) await outcome('wrong');
    expect(await outcome(password)).toBe('in');
    now += 60_001;
    await outcome('wrong');
    expect(await outcome(password)).toBe('in');
  });

  it('that come all at once count each', async () => {
    await Promise.all(Array.from({ length: 6 }, () => outcome('wrong')));
    expect(await outcome(password)).toMatch(/\b20\b/);
  });

  it('say the same of users that are not there', async () => {
    expect(await outcome('wrong', 'nobody')).toBe(await outcome('wrong'));
  });
});

describe('right passwords that are remembered', () => {
  it('are forgotten when the password changes', async () => {
    expect(await outcome(password)).toBe('in');
    const hidden: LocalUserPrivate = { hash: await hash('battery staple'), changeRequired: false };
    catalog.put('local_user', catalog.get('local_user', '1')!, hidden);
    expect(await outcome(password)).not.toBe('in');
    expect(await outcome('battery staple')).toBe('in');
  });

  it('and go with their user', async () => {
    expect(await outcome(password)).toBe('in');
    const session = users.open(await users.basic('admin', password, 'here')).session;
    catalog.remove('local_user', '1');
    expect(await outcome(password)).not.toBe('in');
    expect(users.cookie(session?.cookie ?? '')).toBeUndefined();
  });
});

describe('login sessions', () => {
  const open = async () => {
    const { session } = users.open(await users.basic('admin', password, 'here'));
    if (session === undefined) throw new Error('no session');
    return session;
  };

  it('have secrets of 256 bits, no two alike', async () => {
    const [one, other] = [await open(), await open()];
    for (const secret of [one.cookie, one.token]) expect(Buffer.from(secret, 'base64url')).toHaveLength(32);
    expect(new Set([one.cookie, one.token, other.cookie, other.token]).size).toBe(4);
  });

  it('end 36000 s after their last use, and at logout', async () => {
    const { cookie } = await open();
    now += 36_000_000;
    expect(users.cookie(cookie)?.user).toBe('admin');
    now += 36_000_001;
    expect(users.cookie(cookie)).toBeUndefined();
    const other = await open();
    users.logout(other.cookie);
    expect(users.cookie(other.cookie)).toBeUndefined();
  });

  it('do not survive the process', async () => {
    const { cookie } = await open();
    expect(new Authenticator(catalog, clock, systemRandom).cookie(cookie)).toBeUndefined();
  });
});

it('secrets are the same only when they are', () => {
  expect([sameSecret('ab', 'ab'), sameSecret('ab', 'ac'), sameSecret('ab', 'abc'), sameSecret('', '')]).toEqual([
    true,
    false,
    false,
    true,
  ]);
});
