import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, systemRandom } from '@antipode/base';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalog } from '../catalog/catalog.ts';
import { Authenticator, type Principal } from '../security/authenticator.ts';
import { UserService } from './users.ts';

const password = 'Correct-Horse-1';
const other = 'Battery-Staple-2';
let directory: string;
let catalog: Catalog;
let authenticator: Authenticator;
let service: UserService;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'users-'));
  catalog = new Catalog(directory);
  authenticator = new Authenticator(catalog, systemClock, systemRandom);
  await authenticator.ensureFirstAdministrator(password);
  service = new UserService(catalog, systemRandom, authenticator);
});
afterEach(() => {
  catalog.close();
  rmSync(directory, { recursive: true, force: true });
});

const login = (name: string, secret = password) => authenticator.basic(name, secret, 'here');
async function ask(who: Principal, operation: string, id = '', body: unknown = {}): Promise<{ id?: string }> {
  const context = { principal: who, clientAddress: '127.0.0.1', job: '', progress: () => undefined };
  return ((await service.handlers()[operation]!(context, id, body)) ?? {}) as { id?: string };
}
const refusal = (...asked: Parameters<typeof ask>) =>
  ask(...asked).then(
    () => 'done',
    (error: Error) => error.message,
  );
const make = async (name: string, role_id: string, who?: Principal) =>
  String((await ask(who ?? (await login('admin')), 'local_user.create', '', { name, role_id, password })).id);

describe('users', () => {
  it('log in with what they were given, and never show it', async () => {
    const id = await make('eva', '2');
    expect(await login('eva')).toMatchObject({ user: 'eva', roleIds: ['2'], mustChangePassword: false });
    expect(JSON.stringify(catalog.get('local_user', id))).not.toContain('argon2');
    expect(
      await refusal(await login('admin'), 'local_user.create', '', { name: 'eva', role_id: '2', password }),
    ).toContain('eva is in use');
    expect(
      await refusal(await login('admin'), 'local_user.create', '', { name: 'x', role_id: '99', password }),
    ).toContain('no role');
  });

  it.each([
    ['no small letter', 'ABCDEFG-1'],
    ['no capital letter', 'abcdefg-1'],
    ['no digit', 'Abcdefg-x'],
    ['no sign', 'Abcdefgh1'],
    ['the name', 'Zoe-12345x'],
  ])('do not get a password with %s', async (_, weak) => {
    const body = { name: 'zoe', role_id: '2', password: weak };
    expect(await refusal(await login('admin'), 'local_user.create', '', body)).toContain('password cannot be taken');
    expect(catalog.count('local_user')).toBe(1);
  });

  it('change their own password with the present one; other logins of theirs end, this one goes on', async () => {
    const id = await make('eva', '3');
    const here = authenticator.open(await login('eva'));
    const elsewhere = authenticator.open(await login('eva'));
    expect(await refusal(here, 'local_user.modify', id, { password: other })).toContain('current password');
    expect(await refusal(here, 'local_user.modify', id, { password, current_password: password })).toContain(
      'present one',
    );
    await ask(here, 'local_user.modify', id, { password: other, current_password: password });
    expect(authenticator.cookie(here.session?.cookie ?? '')?.user).toBe('eva');
    expect(authenticator.cookie(elsewhere.session?.cookie ?? '')).toBeUndefined();
    await expect(login('eva')).rejects.toThrow('wrong');
    expect((await login('eva', other)).mustChangePassword).toBe(false);
  });

  it('who got a password from an administrator have to change it; their logins end', async () => {
    const id = await make('eva', '2');
    const session = authenticator.open(await login('eva'));
    await ask(await login('admin'), 'local_user.modify', id, { password: other });
    expect(authenticator.cookie(session.session?.cookie ?? '')).toBeUndefined();
    const eva = await login('eva', other);
    expect(eva.mustChangePassword).toBe(true);
    await ask(eva, 'local_user.modify', id, { password, current_password: other });
    expect((await login('eva')).mustChangePassword).toBe(false);
  });

  it('that are locked neither log in nor go on, until they are unlocked', async () => {
    const id = await make('eva', '2');
    const session = authenticator.open(await login('eva'));
    await ask(await login('admin'), 'local_user.modify', id, { is_locked: true });
    await expect(login('eva')).rejects.toThrow();
    expect(authenticator.cookie(session.session?.cookie ?? '')).toBeUndefined();
    await ask(await login('admin'), 'local_user.modify', id, { is_locked: false });
    expect((await login('eva')).user).toBe('eva');
  });

  it('do not rise by themselves: not by their own hand, and not by a security administrator’s', async () => {
    const eva = await make('eva', '3');
    expect(await refusal(await login('eva'), 'local_user.modify', eva, { role_id: '1' })).toContain(
      'role does not allow',
    );
    expect(await refusal(await login('eva'), 'local_user.modify', '1', { password: other })).toContain(
      'does not allow',
    );
    await make('sec', '5');
    const sec = await login('sec');
    expect(await refusal(sec, 'local_user.modify', eva, { role_id: '1' })).toContain('does not allow');
    expect(await refusal(sec, 'local_user.modify', '1', { password: other })).toContain('does not allow');
    expect(await refusal(sec, 'local_user.create', '', { name: 'x', role_id: '1', password })).toContain(
      'does not allow',
    );
    await ask(sec, 'local_user.modify', eva, { role_id: '2' });
    expect((await login('eva')).roleIds).toEqual(['2']);
  });

  it('there is always an administrator: the built-in one is neither deleted nor locked nor another', async () => {
    const root = await login('admin');
    expect(await refusal(root, 'local_user.delete', '1')).toContain('cannot be changed');
    expect(await refusal(root, 'local_user.modify', '1', { is_locked: true })).toContain('cannot be changed');
    expect(await refusal(root, 'local_user.modify', '1', { role_id: '3' })).toContain('cannot be changed');
    const id = await make('eva', '1');
    await ask(root, 'local_user.delete', id);
    await expect(login('eva')).rejects.toThrow('wrong');
  });
});
