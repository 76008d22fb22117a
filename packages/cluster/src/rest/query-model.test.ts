import { type FieldSpec, type ResourceSpec, resources } from '@antipode/contract';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tables } from '../catalog/documents.ts';
import {
  allOperators,
  type Condition,
  holds,
  literalsOf,
  operatorsOf,
  ordered,
  type Row,
} from './testing/query-model.ts';
import { type RestFixture, restFixture } from './testing/rest-fixture.ts';

let rest: RestFixture;
beforeAll(async () => {
  rest = await restFixture();
});
afterAll(() => rest.close());

/** Those that are rows of a table and take conditions. What others are rows of is among these. */
const queried = Object.values(resources).filter(
  (resource) =>
    (tables as readonly string[]).includes(resource.name) && !resource.simple && resource.name !== 'local_user',
);
const words = [
  '',
  'a',
  'A',
  'b',
  'Ab',
  'aB*',
  '[x]',
  'x?y',
  "it's",
  '10',
  '9',
  'é',
  'É',
  'null',
  'true',
  '%',
  '_',
  'a,b',
  '(a)',
  '"q"',
  '𝕏',
];
const moments = [
  '2025-12-31T23:59:59.999Z',
  '2026-01-01T00:00:00.000Z',
  '2026-01-01T00:00:00.001Z',
  '2030-06-01T12:00:00.000Z',
];
const stored = (moment: string) => moment.replace('Z', '+00:00');

/** A value that an attribute may have. */
function value(spec: FieldSpec): fc.Arbitrary<unknown> {
  const word = fc.constantFrom(...words);
  const literals = literalsOf(spec);
  const known = literals.length > 0 ? fc.constantFrom(...literals.slice(0, 6)) : word;
  const some: Record<FieldSpec['type'], fc.Arbitrary<unknown>> = {
    string: word,
    int: fc.oneof(fc.integer({ min: -2, max: 12 }), fc.constant(2 ** 48)),
    boolean: fc.boolean(),
    timestamp: fc.constantFrom(...moments).map(stored),
    enum: known,
    object: fc.record({
      a: fc.oneof(word, fc.integer({ min: 0, max: 12 }), fc.boolean(), fc.constant(null)),
      b: fc.record({ c: word }),
    }),
    list: fc.array(known, { maxLength: 3 }),
  };
  return fc.oneof({ weight: 4, arbitrary: some[spec.type] }, { weight: 1, arbitrary: fc.constant(null) });
}

/** Something to compare with. */
function operand(spec: FieldSpec): fc.Arbitrary<string> {
  const literals = literalsOf(spec);
  switch (spec.type) {
    case 'int':
      return fc.oneof(fc.integer({ min: -3, max: 13 }), fc.constant(2 ** 48)).map(String);
    case 'boolean':
      return fc.constantFrom('true', 'false', 'True', 'FALSE');
    case 'timestamp':
      return fc.constantFrom(...moments, '2026-01-01', '2026-01-01T01:00:00+01:00', '2026-01-01T00:00:00Z');
    case 'enum':
      return fc.constantFrom(...literals.slice(0, 6).flatMap((literal) => [literal, literal.toLowerCase()]));
    case 'list':
      return fc.constantFrom(...(literals.length > 0 ? literals.slice(0, 6) : words.filter((word) => word !== '')));
    default:
      return fc.constantFrom(...words);
  }
}

function condition(resource: ResourceSpec): fc.Arbitrary<Condition> {
  return fc.constantFrom(...Object.entries(resource.fields)).chain(([field, spec]) => {
    const within = spec.type === 'object';
    const paths = within ? [[], ['a'], ['b', 'c'], ['missing']] : [[]];
    return fc.record({ path: fc.constantFrom(...paths), not: fc.boolean() }).chain(({ path, not }) => {
      const kind: FieldSpec = path.length > 0 ? { type: 'string', description: '' } : spec;
      return fc.constantFrom(...operatorsOf[kind.type]).chain((operator) => {
        const many = ['in', 'cs', 'cd'].includes(operator);
        const asked =
          operator === 'is'
            ? fc.constantFrom(...(kind.type === 'boolean' ? ['null', 'true', 'false'] : ['null'])).map((word) => [word])
            : operator === 'like' || operator === 'ilike'
              ? fc
                  .array(fc.constantFrom('*', ...words.filter((word) => word !== '')), { maxLength: 3 })
                  .map((parts) => [parts.join('')])
              : fc.array(operand(kind), many ? { maxLength: 3 } : { minLength: 1, maxLength: 1 });
        return asked.map((operands) => ({ field, path, not, operator, operands }));
      });
    });
  });
}

const quoted = (text: string) => `"${text.replace(/[\\"]/g, (sign) => `\\${sign}`)}"`;
function written({ operator, operands }: Condition): string {
  if (operator === 'in') return `(${operands.map(quoted).join(',')})`;
  if (operator === 'cs' || operator === 'cd') return `{${operands.map(quoted).join(',')}}`;
  return operands[0] ?? '';
}
const target = ({ field, path }: Condition) => [field, ...path].join('->>');
const right = (given: Condition) => `${given.not ? 'not.' : ''}${given.operator}.${written(given)}`;

/** Puts rows into a table, and nothing else. */
function fill(resource: ResourceSpec, rows: readonly Row[]): void {
  const name = resource.name as 'volume';
  rest.catalog.transaction(() => {
    for (const { id } of rest.catalog.list(name)) rest.catalog.remove(name, id);
    for (const row of rows) rest.catalog.put(name, row as never);
  });
}

/** Rows whose names are unique, as those of most resources are. */
const rowsOf = (resource: ResourceSpec): fc.Arbitrary<readonly Row[]> =>
  fc
    .array(fc.record(Object.fromEntries(Object.entries(resource.fields).map(([name, spec]) => [name, value(spec)]))), {
      minLength: 1,
      maxLength: 8,
    })
    .map((rows) =>
      rows.map((row, index) => ({
        ...row,
        id: `${index}`,
        ...('name' in resource.fields && { name: `${String(row.name ?? '')}${index}` }),
        ...('serial_number' in resource.fields && { serial_number: `${index}` }),
        ...('port_name' in resource.fields && { port_name: `${String(row.port_name ?? '')}${index}` }),
        ...('logical_unit_number' in resource.fields && { logical_unit_number: index, volume_id: `v${index}` }),
      })),
    );

const found = async (resource: ResourceSpec, query: URLSearchParams): Promise<readonly string[]> => {
  const answer = await rest.get(`${resource.name}?${query.toString()}`);
  expect([200, 206], `${query.toString()}: ${answer.body}`).toContain(answer.statusCode);
  return answer.json<{ id: string }[]>().map(({ id }) => id);
};
const idsOf = (rows: readonly Row[]) => rows.map(({ id }) => String(id));

describe('a query finds what a plain loop over the rows finds', () => {
  it.each(queried.map((resource) => [resource.name, resource] as const))('%s', async (_, resource) => {
    const order = fc.array(
      fc.record({
        field: fc.constantFrom(
          ...Object.keys(resource.fields).filter((name) => !['object', 'list'].includes(resource.fields[name]!.type)),
        ),
        descending: fc.boolean(),
      }),
      { maxLength: 3 },
    );
    const conditions = fc.array(condition(resource), { maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(
        rowsOf(resource),
        fc.array(fc.tuple(conditions, order), { minLength: 4, maxLength: 4 }),
        async (rows, queries) => {
          fill(resource, rows);
          for (const [all, by] of queries) {
            const query = new URLSearchParams(all.map((given): [string, string] => [target(given), right(given)]));
            if (by.length > 0)
              query.set('order', by.map(({ field, descending }) => `${field}${descending ? '.desc' : ''}`).join());
            const matching = rows.filter((row) => all.every((given) => holds(given, row, resource)));
            expect(await found(resource, query), query.toString()).toEqual(idsOf(ordered(matching, by, resource)));
          }
        },
      ),
      { numRuns: 10 },
    );
    fill(resource, []);
  });

  it('groups of conditions nest, and pages are pieces of the whole', async () => {
    const resource = resources.volume!;
    // A value that is not in a list ends at a comma or a bracket.
    const simple = condition(resource).filter(
      ({ operator, operands }) =>
        ['in', 'cs', 'cd'].includes(operator) || operands.every((text) => /^[\w:.+-]+$/.test(text)),
    );
    const page = fc.record({ limit: fc.integer({ min: 1, max: 9 }), offset: fc.nat(9), range: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(
        rowsOf(resource),
        simple,
        simple,
        simple,
        page,
        async (rows, a, b, c, { limit, offset, range }) => {
          fill(resource, rows);
          const text = (given: Condition) => `${target(given)}.${right(given)}`;
          const is = (given: Condition) => (row: Row) => holds(given, row, resource);
          const query = new URLSearchParams({ or: `(${text(a)},and(${text(b)},${text(c)}))`, order: 'id.desc' });
          const whole = idsOf(rows.filter((row) => is(a)(row) || (is(b)(row) && is(c)(row)))).reverse();
          expect(await found(resource, query), query.toString()).toEqual(whole);
          if (!range) {
            query.set('limit', String(limit));
            query.set('offset', String(offset));
          }
          const answer = await rest.get(
            `volume?${query.toString()}`,
            range ? { range: `${offset}-${offset + limit - 1}` } : {},
          );
          if (offset > 0 && offset >= whole.length) return void expect(answer.statusCode).toBe(416);
          const piece = whole.slice(offset, offset + limit);
          expect(answer.json()).toEqual(piece.map((id) => ({ id })));
          expect(answer.statusCode).toBe(piece.length < whole.length ? 206 : 200);
          if (piece.length > 0)
            expect(answer.headers['content-range']).toBe(`${offset}-${offset + piece.length - 1}/${whole.length}`);
        },
      ),
      { numRuns: 150 },
    );
    fill(resource, []);
  });
});

describe('what a kind of attribute does not take', () => {
  it.each(queried.map((resource) => [resource.name, resource] as const))(
    '%s: every other operator is refused',
    async (_, resource) => {
      for (const [name, spec] of Object.entries(resource.fields)) {
        for (const operator of allOperators) {
          if (operatorsOf[spec.type].includes(operator)) continue;
          const text = operator === 'in' ? '(a)' : ['cs', 'cd'].includes(operator) ? '{a}' : 'a';
          const answer = await rest.get(
            `${resource.name}?${new URLSearchParams([[name, `${operator}.${text}`]]).toString()}`,
          );
          expect(answer.statusCode, `${name}=${operator}.${text}: ${answer.body}`).toBe(400);
          expect(answer.body).toContain(name);
        }
        if (spec.type !== 'boolean')
          expect((await rest.get(`${resource.name}?${name}=is.true`)).statusCode, `${name}=is.true`).toBe(400);
      }
    },
  );

  it.each(['soon', 'soon 5', '1', '2026', '2026-13-01', '2026-01-01T25:00', '12026-01-01T00:00:00Z', 'Jan 1 2026'])(
    'a moment is not %j',
    async (text) => {
      expect((await rest.get(`job?start_time=gt.${encodeURIComponent(text)}`)).statusCode).toBe(400);
    },
  );

  it('a moment may be written in any form of ISO 8601, its plus encoded or not', async () => {
    fill(resources.job!, [{ id: '1', start_time: '2026-01-01T00:00:00.000+00:00' }]);
    for (const text of [
      '2026-01-01',
      '2026-01-01T00:00',
      '2026-01-01T01:00:00+01:00',
      '2026-01-01T01:00:00%2B0100',
      '2026-01-01T00:00:00.000000Z',
    ])
      expect((await rest.get(`job?start_time=eq.${text}`)).json(), text).toEqual([{ id: '1' }]);
    fill(resources.job!, []);
  });
});

describe('long collections', () => {
  it('at most 2,000 rows come at once, however they are asked for', async () => {
    fill(
      resources.job!,
      Array.from({ length: 2_001 }, (_, index) => ({ id: String(index).padStart(4, '0') })),
    );
    for (const [query, headers] of [
      ['limit=2001', {}],
      ['limit=99999', {}],
      ['', { range: '0-2100' }],
    ] as const) {
      const answer = await rest.get(`job?${query}`, headers);
      expect([answer.statusCode, answer.headers['content-range']]).toEqual([206, '0-1999/2001']);
      expect(answer.json()).toHaveLength(2_000);
    }
    const last = await rest.get('job?limit=2000&offset=2000');
    expect([last.statusCode, last.headers['content-range'], last.json()]).toEqual([
      206,
      '2000-2000/2001',
      [{ id: '2000' }],
    ]);
    fill(resources.job!, []);
  });
});
