import { mayDo, type ResourceSpec, resources, roles, twins } from '@antipode/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Table } from '../catalog/documents.ts';
import { tables } from '../catalog/documents.ts';
import { basic, password, type RestFixture, restFixture } from './testing/rest-fixture.ts';

/** Whatever can be asked for to change something: how, where, and as what it is known. */
interface Change {
  readonly method: 'POST' | 'PATCH' | 'DELETE';
  readonly url: string;
  readonly operation: string;
}
const changes: readonly Change[] = Object.values(resources).flatMap((resource: ResourceSpec): readonly Change[] => {
  const of = (method: Change['method'], path: string, verb: string): Change => ({
    method,
    url: `${resource.name}${path}`,
    operation: `${resource.name}.${verb}`,
  });
  const acting = (all: ResourceSpec['actions'] | undefined, path: string) =>
    Object.entries(all ?? {}).flatMap(([verb, { reads }]) => (reads ? [] : [of('POST', `${path}/${verb}`, verb)]));
  return [
    ...(resource.create ? [of('POST', '', 'create')] : []),
    ...(resource.modify ? [of('PATCH', '/x', 'modify')] : []),
    ...(resource.remove ? [of('DELETE', '/x', 'delete')] : []),
    ...acting(resource.actions, '/x'),
    ...acting(resource.collectionActions, ''),
  ];
});

let rest: RestFixture;
beforeAll(async () => {
  rest = await restFixture();
});
afterAll(() => rest.close());

/** Headers of somebody who is logged in. */
async function loggedIn(name: string): Promise<Record<string, string>> {
  const answer = await rest.get('login_session', { authorization: basic(name, password) });
  const cookie = String(answer.headers['set-cookie']).split(';')[0]!;
  return { cookie, authorization: '', 'dell-emc-token': String(answer.headers['dell-emc-token']) };
}
const userOf = (role: (typeof roles)[number]): string =>
  role.id === '1' ? 'admin' : role.id === '3' ? 'watcher' : role.name.replaceAll(' ', '');

describe('every route', () => {
  it.each(roles.map((role) => [role.name, role] as const))(
    'lets a %s do what the role allows and nothing else, and enters each attempt',
    async (_, role) => {
      const user = userOf(role);
      const headers = await loggedIn(user);
      for (const { method, url, operation } of changes) {
        const before = rest.audits.length;
        const { statusCode } = await rest.send(method, url, {}, headers);
        // Own passwords are everybody's: who it is about, the service looks at.
        const may = mayDo([role.id], operation) || operation === 'local_user.modify';
        expect([operation, statusCode === 403], operation).toEqual([operation, !may]);
        expect(rest.audits.slice(before), operation).toMatchObject([
          { operation: may ? operation : 'login_session.authorize', user, status: statusCode },
        ]);
      }
    },
  );

  it('asks who it is: nobody changes or reads anything without a login', async () => {
    const nobody = { authorization: '' };
    for (const { method, url } of changes)
      expect([url, (await rest.send(method, url, {}, nobody)).statusCode]).toEqual([url, 401]);
    for (const { name, noList } of Object.values(resources))
      if (!noList) expect([name, (await rest.get(name, nobody)).statusCode]).toEqual([name, 401]);
  });

  it('shows every attribute and its words, null where there is nothing, whoever looks', async () => {
    const headers = { ...(await loggedIn('watcher')), 'dell-visibility': 'internal' };
    for (const resource of Object.values(resources)) {
      if (
        resource.noList ||
        resource.name === 'login_session' ||
        !(tables as readonly string[]).includes(resource.name)
      )
        continue;
      rest.catalog.put(resource.name as Table, { id: 'x' } as never, {});
      const rows = (await rest.get(`${resource.name}?select=*`, headers)).json() as Record<string, unknown>[];
      const row = rows.find(({ id }) => id === 'x');
      const all = [...Object.keys(resource.fields), ...twins(resource)].sort();
      expect(Object.keys(row ?? {}).sort(), resource.name).toEqual(all);
      expect(Object.entries(row ?? {}).filter(([name, value]) => name !== 'id' && value !== null)).toEqual([]);
    }
  });
});
