import { type Filter, parseQuery, parseSelect, type Query, type ResourceSpec, resources } from '@antipode/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const volume = resources.volume as ResourceSpec;

const parse = (query: string, range?: string) => parseQuery(new URLSearchParams(query), range, volume, resources);

function parsed(query: string, range?: string): Query {
  const result = parse(query, range);
  if (!result.ok) throw new Error(result.error.message);
  return result.value;
}

const refused = (query: string, range?: string) => {
  const result = parse(query, range);
  return result.ok ? undefined : result.error;
};

describe('select', () => {
  it('takes the names of what is inside an attribute, which comes whole', () => {
    expect(parsed('select=protection_data(family_id, parent_id),id').selection.fields).toEqual([
      'protection_data',
      'id',
    ]);
    for (const text of ['name(a)', 'protection_data()', 'protection_data(a(b))', 'state(x)'])
      expect(refused(`select=${text}`)?.kind, text).toBe('invalid');
  });

  it('is the id unless told', () => {
    expect(parsed('').selection).toEqual({ fields: ['id'], associations: {} });
  });

  it('takes attributes, twins and associations, nested, with blanks', () => {
    expect(
      parsed('select= id , state_l10n,appliance, protection_policy ( name, replication_rules( rpo ))').selection,
    ).toEqual({
      fields: ['id', 'state_l10n'],
      associations: {
        appliance: { fields: ['id'], associations: {} },
        protection_policy: {
          fields: ['name'],
          associations: { replication_rules: { fields: ['rpo'], associations: {} } },
        },
      },
    });
  });

  it('* is all own attributes and their twins, in associations too', () => {
    const { fields, associations } = parsed('select=*,appliance(*)').selection;
    expect(fields).toEqual(expect.arrayContaining([...Object.keys(volume.fields), 'state_l10n', 'type_l10n']));
    expect(Object.keys(associations)).toEqual(['appliance']);
    expect(associations.appliance?.fields).toContain('service_tag');
  });

  it.each([
    'id,',
    'nothing',
    'toString',
    '__proto__',
    'appliance(nothing)',
    'appliance(id',
    'id)',
    'name(id)',
    'id name',
  ])('refuses %s', (text) => {
    expect(refused(`select=${text}`)?.kind).toBe('invalid');
  });
});

describe('conditions', () => {
  const condition = (query: string): Filter => {
    const { filter } = parsed(query);
    if (filter.kind === 'compare') throw new Error('conditions come in a group');
    return filter.of[0] as Filter;
  };

  it.each([
    ['name=eq.a.b', ['name'], 'eq', ['a.b'], false],
    ['name=not.eq.x', ['name'], 'eq', ['x'], true],
    ['name=NOT.ILIKE.x*', ['name'], 'ilike', ['x*'], true],
    ['id=in.(a,"b,c",d)', ['id'], 'in', ['a', 'b,c', 'd'], false],
    ['id=not.in.(a)', ['id'], 'in', ['a'], true],
    ['description=is.NULL', ['description'], 'is', ['null'], false],
    ['protection_data->>source_id=eq.x', ['protection_data', 'source_id'], 'eq', ['x'], false],
    ['location_history->0->>reason=eq.Initial', ['location_history', 0, 'reason'], 'eq', ['Initial'], false],
  ] as const)('%s', (query, [field, ...path], operator, values, not) => {
    expect(condition(query)).toEqual({ kind: 'compare', target: { field, path }, operator, values, not });
  });

  it('several are all asked for; groups nest', () => {
    const { filter } = parsed('size=gt.1&or=(name.eq.a,and(name.eq.b,size.lt.9))');
    expect(filter).toMatchObject({
      kind: 'all',
      of: [
        { kind: 'compare', operator: 'gt' },
        { kind: 'any', of: [{ values: ['a'] }, { kind: 'all', of: [{ values: ['b'] }, { values: ['9'] }] }] },
      ],
    });
  });

  it('what is no condition is left alone: select, order, pages, is_async in any case', () => {
    expect(parsed('IS_ASYNC=True&async=1&Select=id&Limit=3').filter).toEqual({ kind: 'all', of: [] });
  });

  it.each([
    'nothing=eq.1',
    '__proto__=eq.1',
    'hasOwnProperty=eq.1',
    'name=',
    'name=x',
    'name=eq',
    'size=eq.1.5',
    'size=gt.x',
    'is_replication_destination=eq.2',
    'creation_timestamp=lt.soon',
    'id=in.a',
    'location_history=eq.x',
    'name=cs.{a}',
    "name->>'x=eq.1",
    'name->>a b=eq.1',
    'and=()',
    'or=(name)',
    'or=(name.eq.a',
  ])('refuses %s', (query) => {
    expect(refused(query)?.kind).toBe('invalid');
  });
});

describe('pages and order', () => {
  it.each([
    ['', undefined, 0, 100],
    ['limit=5&offset=7', undefined, 7, 5],
    ['limit=5000', undefined, 0, 2000],
    ['', '0-99', 0, 100],
    ['', '100-2100', 100, 2000],
    ['limit=5', '3-', 3, 100],
  ])('%s %s', (query, range, offset, limit) => {
    expect(parsed(query, range)).toMatchObject({ offset, limit });
  });

  it.each([
    ['limit=0', undefined],
    ['limit=-1', undefined],
    ['limit=', undefined],
    ['offset=-1', undefined],
    ['offset=99999999999999999999', undefined],
    ['', '5'],
    ['', '5-4'],
    ['', 'a-b'],
  ])('out of range: %s %s', (query, range) => {
    expect(refused(query, range)?.kind).toBe('range');
  });

  it('order', () => {
    expect(parsed('order=name.desc, id,size.ASC').order).toEqual([
      { field: 'name', descending: true },
      { field: 'id', descending: false },
      { field: 'size', descending: false },
    ]);
    expect(refused('order=appliance')?.kind).toBe('invalid');
  });
});

describe('whatever is asked', () => {
  const word = fc.oneof(
    fc.string({ maxLength: 20 }),
    fc.constantFrom('(', ')', ',', '.', '"', '{', '}', '->>', '->', '*', 'not.', 'eq.', 'in.(', 'and', 'or'),
    fc.constantFrom(...Object.keys(volume.fields), ...Object.keys(volume.associations), '__proto__', 'constructor'),
  );
  const text = fc.array(word, { maxLength: 12 }).map((words) => words.join(''));
  const name = fc.oneof(
    text,
    fc.constantFrom('select', 'order', 'and', 'or', 'limit', 'offset', ...Object.keys(volume.fields)),
  );

  it('parsing ends with a query or a reason, and a query names only what the resource has', () => {
    const inside = (filter: Filter): boolean =>
      filter.kind === 'compare' ? Object.hasOwn(volume.fields, filter.target.field) : filter.of.every(inside);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(name, text), { maxLength: 5 }),
        fc.option(text, { nil: undefined }),
        (query, range) => {
          const result = parseQuery(query, range, volume, resources);
          if (!result.ok) return result.error.message.length > 0 && result.error.message.length < 2000;
          const { limit, offset, filter, order } = result.value;
          return (
            limit >= 1 &&
            limit <= 2000 &&
            offset >= 0 &&
            inside(filter) &&
            order.every(({ field }) => Object.hasOwn(volume.fields, field))
          );
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('a selection survives being written down and read again', () => {
    const fields = fc.uniqueArray(fc.constantFrom(...Object.keys(volume.fields)), { minLength: 1, maxLength: 5 });
    const blank = fc.constantFrom('', ' ', '  ');
    fc.assert(
      fc.property(fields, fields, blank, (own, inner, space) => {
        const inPolicy = inner.filter((field) => Object.hasOwn(resources.policy?.fields ?? {}, field));
        const nested = inPolicy.length > 0 ? [`protection_policy${space}(${inPolicy.join(`,${space}`)})`] : [];
        const result = parseSelect([...own, ...nested].join(`${space},${space}`), volume, resources);
        expect(result).toEqual({
          ok: true,
          value: {
            fields: own,
            associations: inPolicy.length > 0 ? { protection_policy: { fields: inPolicy, associations: {} } } : {},
          },
        });
      }),
    );
  });

  it('takes time in proportion to what was sent', () => {
    for (const text of [
      '('.repeat(16_000),
      ','.repeat(16_000),
      '"'.repeat(16_000),
      'a('.repeat(8_000),
      '\\"'.repeat(8_000),
    ]) {
      for (const query of [
        `select=${text}`,
        `and=${text}`,
        `order=${text}`,
        `name=in.(${text})`,
        `location_history=cs.{${text}}`,
        `${text}=eq.1`,
      ])
        expect(parse(query)).toHaveProperty('ok');
    }
  });
});
