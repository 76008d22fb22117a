import { mayDo, resources, roles } from '@antipode/contract';
import { describe, expect, it } from 'vitest';

const operations = Object.values(resources).flatMap((resource) => [
  ...(resource.create ? [`${resource.name}.create`] : []),
  ...(resource.modify ? [`${resource.name}.modify`] : []),
  ...(resource.remove ? [`${resource.name}.delete`] : []),
  ...Object.entries({ ...resource.actions, ...resource.collectionActions })
    .filter(([, action]) => !action.reads)
    .map(([name]) => `${resource.name}.${name}`),
]);
const allowed = (role: string) => operations.filter((operation) => mayDo([role], operation));

describe('roles', () => {
  it('every operation is somebody’s besides the administrator’s, or on purpose only hers', () => {
    const others = roles.filter(({ id }) => id !== '1').map(({ id }) => id);
    const hersAlone = operations.filter((operation) => !others.some((role) => mayDo([role], operation)));
    expect(allowed('1')).toEqual(operations);
    expect(
      hersAlone.map((operation) => operation.split('.')[0]).filter((name, at, all) => all.indexOf(name) === at),
    ).toEqual(hersAlone.length === 0 ? [] : expect.arrayContaining(['remote_system']));
    expect(hersAlone.filter((operation) => /^(volume|host|policy|replication_session)/.test(operation))).toEqual([]);
  });

  it('who only looks changes nothing', () => {
    expect([...allowed('3'), ...allowed('4'), ...allowed('nobody')]).toEqual([]);
  });

  it('who operates storage takes nothing away', () => {
    const operator = allowed('6');
    expect(operator).toContain('volume.create');
    expect(operator.filter((operation) => /\.(delete|restore|refresh|failover|reprotect)$/.test(operation))).toEqual(
      [],
    );
    expect(allowed('2')).toEqual(expect.arrayContaining([...operator]));
    expect(allowed('5').every((operation) => /^(local_user|security_config|x509_certificate)\./.test(operation))).toBe(
      true,
    );
  });
});
