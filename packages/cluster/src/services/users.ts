import type { Random } from '@antipode/base';
import {
  administratorRole,
  LocalUserCreate,
  LocalUserModify,
  mayDo,
  RestError,
  roles,
  SecurityConfigModify,
} from '@antipode/contract';
import { type Static, Type } from 'typebox';
import type { Catalog } from '../catalog/catalog.ts';
import type { LocalUserDocument, LocalUserPrivate } from '../catalog/documents.ts';
import { type Handlers, handler, type RequestContext } from '../rest/handlers.ts';
import type { Authenticator, Principal } from '../security/authenticator.ts';
import { checkPassword, hashPassword, verifyPassword } from '../security/passwords.ts';

const usersMost = 200;

/** Users, their passwords and roles, and how logins are guarded. */
export class UserService {
  readonly #catalog: Catalog;
  readonly #random: Random;
  readonly #authenticator: Authenticator;

  constructor(catalog: Catalog, random: Random, authenticator: Authenticator) {
    this.#catalog = catalog;
    this.#random = random;
    this.#authenticator = authenticator;
  }

  handlers(): Handlers {
    return {
      'local_user.create': handler(LocalUserCreate, ({ principal }, _, body) => this.#create(principal, body)),
      'local_user.modify': handler(LocalUserModify, (context, id, body) => this.#modify(context, id, body)),
      'local_user.delete': handler(Type.Object({}), async ({ principal }, id) => this.#delete(principal, id)),
      'security_config.modify': handler(SecurityConfigModify, async (_, id, body) => {
        if (body.idle_timeout !== undefined)
          this.#catalog.change('security_config', id, { idle_timeout: body.idle_timeout });
      }),
    };
  }

  async #create(principal: Principal, body: Static<typeof LocalUserCreate>): Promise<{ id: string }> {
    this.#checkRole(principal, body.role_id);
    if (this.#catalog.count('local_user') >= usersMost) throw new RestError('too_many_users', String(usersMost));
    checkPassword(body.password, body.name);
    const hash = await hashPassword(body.password);
    const id = this.#random.uuid();
    const user: LocalUserDocument = {
      id,
      name: body.name,
      role_id: body.role_id,
      is_built_in: false,
      is_default_password: false,
      is_locked: false,
      is_mfa_bypass: body.is_mfa_bypass ?? true,
      mfa_alias: null,
      password_expiration_timestamp: null,
    };
    this.#catalog.put('local_user', user, { hash, changeRequired: false } satisfies LocalUserPrivate);
    return { id };
  }

  async #modify({ principal }: RequestContext, id: string, body: Static<typeof LocalUserModify>): Promise<void> {
    const catalog = this.#catalog;
    const user = this.#user(id);
    const self = user.name === principal.user;
    const manages = mayDo(principal.roleIds, 'local_user.modify');
    const { password, current_password: _, ...settings } = body;
    if (!manages && (!self || Object.keys(settings).length > 0)) throw new RestError('forbidden');
    if (manages && !self) this.#checkRank(principal, user);
    if (body.role_id !== undefined && body.role_id !== user.role_id) {
      if (self || user.is_built_in) throw new RestError('user_fixed', user.name, 'the role');
      this.#checkRole(principal, body.role_id);
    }
    if (body.is_locked === true && (self || user.is_built_in)) throw new RestError('user_fixed', user.name, 'the lock');
    let hash: string | undefined;
    if (password !== undefined) {
      checkPassword(password, user.name);
      const present = catalog.private<LocalUserPrivate>('local_user', id)?.hash ?? '';
      if (self && !(await verifyPassword(present, body.current_password ?? '')))
        throw new RestError('wrong_current_password');
      if (await verifyPassword(present, password)) throw new RestError('weak_password', 'it is the present one');
      hash = await hashPassword(password);
    }
    catalog.transaction(() => {
      const next: LocalUserDocument = {
        ...this.#user(id),
        ...(body.role_id !== undefined && { role_id: body.role_id }),
        ...(body.is_locked !== undefined && { is_locked: body.is_locked }),
        ...(body.is_mfa_bypass !== undefined && { is_mfa_bypass: body.is_mfa_bypass }),
        ...(hash !== undefined && { is_default_password: false }),
      };
      // Who was given a password by somebody else makes a new one first.
      if (hash === undefined) catalog.put('local_user', next);
      else catalog.put('local_user', next, { hash, changeRequired: !self } satisfies LocalUserPrivate);
    });
    if (hash !== undefined || body.is_locked === true)
      this.#authenticator.endSessionsOf(user.name, self ? principal.session?.cookie : undefined);
    if (body.is_locked === false || hash !== undefined) this.#authenticator.forgive(user.name);
  }

  #delete(principal: Principal, id: string): void {
    const user = this.#user(id);
    if (user.is_built_in || user.name === principal.user)
      throw new RestError('user_fixed', user.name, 'that there is one');
    this.#checkRank(principal, user);
    this.#catalog.remove('local_user', id);
    this.#authenticator.endSessionsOf(user.name, undefined);
  }

  /** Only administrators make administrators. */
  #checkRole(principal: Principal, roleId: string): void {
    if (!roles.some(({ id }) => id === roleId)) throw new RestError('role_not_found', roleId);
    if (roleId === administratorRole && !principal.roleIds.includes(administratorRole))
      throw new RestError('forbidden');
  }

  /** Only administrators touch administrators: else who may set passwords could become one. */
  #checkRank(principal: Principal, user: LocalUserDocument): void {
    if (user.role_id === administratorRole && !principal.roleIds.includes(administratorRole))
      throw new RestError('forbidden');
  }

  #user(id: string): LocalUserDocument {
    const user = this.#catalog.get('local_user', id);
    if (user === undefined) throw new RestError('user_not_found', id);
    return user;
  }
}
