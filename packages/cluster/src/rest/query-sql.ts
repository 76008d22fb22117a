import {
  associationOf,
  display,
  type FieldSpec,
  type Filter,
  fieldOf,
  momentOf,
  type Query,
  type ResourceSpec,
  resources,
  type Selection,
  type Target,
  twinOf,
} from '@antipode/contract';
import {
  DummyDriver,
  type Expression,
  Kysely,
  type RawBuilder,
  type SqlBool,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
} from 'kysely';
import type { Catalog } from '../catalog/catalog.ts';
import { checkBounds, checkSelection, RowBudget } from './query-bounds.ts';

type Row = Record<string, unknown>;
type View = { place: number; id: string; doc: string };

/** Builds SQL without running it: the catalog runs it, synchronously. */
const builder = new Kysely<Record<string, View>>({
  dialect: {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  },
});

export interface Page {
  readonly rows: readonly Row[];
  readonly total: number;
}

/**
 * The one translator from the query grammar to SQL. Names come from the resource's specification, every value is a bound parameter:
 * nothing that a caller sent becomes SQL text.
 */
export function runQuery(catalog: Catalog, resource: ResourceSpec, query: Query): Page {
  checkBounds(query);
  const view = `rest_${resource.name}`;
  const where = condition(query.filter, resource);
  const counted = builder
    .selectFrom(view)
    .select((eb) => eb.fn.countAll().as('total'))
    .where(where)
    .compile();
  const total = Number(catalog.all(counted.sql, counted.parameters)[0]?.total ?? 0);
  let select = builder.selectFrom(view).select(['id', 'doc']).where(where);
  for (const { field, descending } of query.order) {
    const column = attribute({ field, path: [] });
    // Names are ordered as people do it, without regard to case.
    const ordered = field === 'name' ? sql`${column} COLLATE NOCASE` : column;
    // What has no value comes as if it were above all others, as in the databases that these queries were made for.
    select = select.orderBy(descending ? sql`${ordered} DESC NULLS FIRST` : sql`${ordered} ASC NULLS LAST`);
  }
  const compiled = select.orderBy('place', 'asc').limit(query.limit).offset(query.offset).compile();
  const documents = catalog.all(compiled.sql, compiled.parameters).map((row) => JSON.parse(String(row.doc)) as Row);
  return { rows: shape(catalog, resource, documents, query.selection, new RowBudget()), total };
}

/** One instance with what a selection asks of it. */
export function runGet(catalog: Catalog, resource: ResourceSpec, id: string, selection: Selection): Row | undefined {
  checkSelection(selection);
  const compiled = builder.selectFrom(`rest_${resource.name}`).select(['doc']).where('id', '=', id).compile();
  const row = catalog.all(compiled.sql, compiled.parameters)[0];
  return row && shape(catalog, resource, [JSON.parse(String(row.doc)) as Row], selection, new RowBudget())[0];
}

/** The id of the row with a name. */
export function findByName(catalog: Catalog, resource: ResourceSpec, name: string): string | undefined {
  const column = attribute({ field: 'name', path: [] });
  // Groups are named without regard to case.
  const same =
    resource.name === 'volume_group'
      ? sql<SqlBool>`${column} = ${name} COLLATE NOCASE`
      : sql<SqlBool>`${column} = ${name}`;
  let select = builder.selectFrom(`rest_${resource.name}`).select(['id']).where(same);
  // A snapshot's name is not unique: volumes and groups come first.
  if (resource.name === 'volume' || resource.name === 'volume_group')
    select = select.orderBy(sql`doc ->> '$.type' = 'Snapshot'`);
  const compiled = select.limit(1).compile();
  const row = catalog.all(compiled.sql, compiled.parameters)[0];
  return row === undefined ? undefined : String(row.id);
}

// --- filters --------------------------------------------------------------------------------------------------------

/** An attribute within the document. The path is made of names of the specification and of checked steps. */
function attribute(target: Target): RawBuilder<unknown> {
  return sql`(doc ->> ${jsonPath(target)})`;
}

const jsonPath = ({ field, path }: Target): string =>
  `$${[field, ...path].map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`)).join('')}`;

function condition(filter: Filter, resource: ResourceSpec): Expression<SqlBool> {
  if (filter.kind !== 'compare') {
    if (filter.of.length === 0) return sql<SqlBool>`1 = 1`;
    return sql<SqlBool>`(${sql.join(
      filter.of.map((part) => condition(part, resource)),
      filter.kind === 'all' ? sql` AND ` : sql` OR `,
    )})`;
  }
  const field = filter.target.path.length === 0 ? fieldOf(resource, filter.target.field) : undefined;
  const compared = field === undefined ? compareWithin(filter) : compare(filter, field);
  // SQL's unknown is nobody's answer: a comparison with null is false, its negation true.
  return filter.not ? sql<SqlBool>`NOT coalesce(${compared}, 0)` : compared;
}

type Comparison = Extract<Filter, { kind: 'compare' }>;
const signs = { eq: '=', neq: '<>', gt: '>', gte: '>=', lt: '<', lte: '<=' } as const;

function compare(filter: Comparison, field: FieldSpec): RawBuilder<SqlBool> {
  const column = attribute(filter.target);
  const text = field.type === 'string' || field.type === 'enum';
  const values = filter.values.map((value) => native(value, field));
  if (filter.operator === 'cs') return contains(filter);
  if (filter.operator === 'cd') return isContained(filter);
  return plain(filter, text ? sql`${column} COLLATE NOCASE` : column, values);
}

/** Text is compared without regard to the case of Latin letters, in equality and in order alike. */
function plain(filter: Comparison, column: RawBuilder<unknown>, values: readonly unknown[]): RawBuilder<SqlBool> {
  const first = values[0] ?? '';
  switch (filter.operator) {
    case 'neq':
      return sql<SqlBool>`coalesce(${column} <> ${first}, 1)`;
    case 'like':
      return sql<SqlBool>`${attribute(filter.target)} GLOB ${glob(String(first))}`;
    case 'ilike':
      return sql<SqlBool>`lower(${attribute(filter.target)}) GLOB ${glob(lowered(String(first)))}`;
    case 'in':
      return values.length === 0 ? sql<SqlBool>`0` : sql<SqlBool>`${column} IN (${sql.join(values)})`;
    case 'is':
      if (filter.values[0] === 'null') return sql<SqlBool>`${column} IS NULL`;
      return sql<SqlBool>`${column} IS ${filter.values[0] === 'true' ? 1 : 0}`;
    case 'cs':
    case 'cd':
      return sql<SqlBool>`0`;
    default:
      return sql<SqlBool>`${column} ${sql.raw(signs[filter.operator])} ${first}`;
  }
}

/**
 * What lies within an object has no specification: it is compared as the text that it is shown as, true and false as these words, and numbers as
 * numbers where a number is asked for.
 */
function compareWithin(filter: Comparison): RawBuilder<SqlBool> {
  const column = attribute(filter.target);
  if (filter.operator === 'cs' || filter.operator === 'cd') return sql<SqlBool>`0`;
  if (filter.operator === 'is') return plain(filter, column, filter.values);
  const path = jsonPath(filter.target);
  const kind = sql`json_type(doc, ${path})`;
  const shown = sql`CASE WHEN ${kind} IN ('true', 'false') THEN ${kind} ELSE CAST(${column} AS TEXT) END COLLATE NOCASE`;
  if (filter.operator === 'like' || filter.operator === 'ilike') return plain(filter, column, filter.values);
  const asText = plain(filter, sql`(${shown}) COLLATE NOCASE`, filter.values);
  const numbers = filter.values.map(Number);
  if (filter.values.some((value) => !/^-?\d{1,15}(\.\d{1,9})?$/.test(value))) return asText;
  return sql<SqlBool>`CASE WHEN ${kind} IN ('integer', 'real') THEN ${plain(filter, column, numbers)} ELSE ${asText} END`;
}

/** A list has all of these. */
function contains(filter: Comparison): RawBuilder<SqlBool> {
  const path = jsonPath(filter.target);
  const each = filter.values.map(
    (value) => sql<SqlBool>`EXISTS (SELECT 1 FROM json_each(doc, ${path}) WHERE value = ${value} COLLATE NOCASE)`,
  );
  return sql<SqlBool>`(${sql.join([sql<SqlBool>`${attribute(filter.target)} IS NOT NULL`, ...each], sql` AND `)})`;
}

/** A list has none but these. */
function isContained(filter: Comparison): RawBuilder<SqlBool> {
  const path = jsonPath(filter.target);
  const strange =
    filter.values.length === 0
      ? sql`SELECT 1 FROM json_each(doc, ${path})`
      : sql`SELECT 1 FROM json_each(doc, ${path}) WHERE value COLLATE NOCASE NOT IN (${sql.join(filter.values)})`;
  return sql<SqlBool>`(${attribute(filter.target)} IS NOT NULL AND NOT EXISTS (${strange}))`;
}

/** A value as the database compares it. */
function native(value: string, field: FieldSpec | undefined): string | number {
  switch (field?.type) {
    case 'int':
      return Number(value);
    case 'boolean':
      return value.toLowerCase() === 'true' ? 1 : 0;
    case 'timestamp':
      return momentOf(value) ?? value;
    default:
      return value;
  }
}

/** As the database lowers: Latin letters alone. */
const lowered = (text: string): string => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

/** `*` stands for anything; the other signs of GLOB stand for themselves. */
const glob = (pattern: string): string => pattern.replace(/[[?]/g, (sign) => `[${sign}]`);

// --- answers --------------------------------------------------------------------------------------------------------

function shape(
  catalog: Catalog,
  resource: ResourceSpec,
  documents: readonly Row[],
  selection: Selection,
  budget: RowBudget,
): readonly Row[] {
  budget.spend(documents.length);
  const rows = documents.map((document) => {
    const row: Row = {};
    for (const name of selection.fields) row[name] = attributeValue(resource, document, name);
    return row;
  });
  for (const [name, inner] of Object.entries(selection.associations))
    expand(catalog, resource, documents, rows, name, inner, budget);
  return rows;
}

function attributeValue(resource: ResourceSpec, document: Row, name: string): unknown {
  const base = twinOf(resource, name);
  if (base === undefined) return document[name] ?? null;
  const literal = document[base];
  if (Array.isArray(literal)) return literal.map((item) => display(String(item)));
  return literal == null ? null : display(String(literal));
}

/** Rows in a row: itself and all that are within it. */
function weight(row: Row): number {
  let rows = 1;
  for (const value of Object.values(row)) {
    if (!Array.isArray(value)) continue;
    for (const item of value) rows += typeof item === 'object' && item !== null ? weight(item as Row) : 0;
  }
  return rows;
}

/** Fetches the rows of an association for all documents at once. */
function expand(
  catalog: Catalog,
  resource: ResourceSpec,
  documents: readonly Row[],
  rows: readonly Row[],
  name: string,
  inner: Selection,
  budget: RowBudget,
): void {
  const spec = associationOf(resource, name);
  const target = spec && resources[spec.resource];
  if (spec?.none) {
    for (const row of rows) row[name] = spec.many ? [] : null;
    return;
  }
  if (spec === undefined || target === undefined) return;
  const keysOf = (document: Row): string[] => {
    const ours = document[spec.ours];
    return (Array.isArray(ours) ? ours : ours == null ? [] : [ours]).map(String);
  };
  const keys = [...new Set(documents.flatMap(keysOf))];
  const column = spec.theirs === 'id' ? sql`id` : attribute({ field: spec.theirs, path: [] });
  const found = new Map<string, Row[]>();
  for (let from = 0; from < keys.length; from += 500) {
    const compiled = builder
      .selectFrom(`rest_${target.name}`)
      .select(['doc'])
      .where(
        spec.listing
          ? sql<SqlBool>`EXISTS (SELECT 1 FROM json_each(doc, ${`$.${spec.theirs}`}) WHERE value IN (${sql.join(keys.slice(from, from + 500))}))`
          : sql<SqlBool>`${column} IN (${sql.join(keys.slice(from, from + 500))})`,
      )
      .orderBy('place')
      .compile();
    const batch = catalog.all(compiled.sql, compiled.parameters).map((row) => JSON.parse(String(row.doc)) as Row);
    shape(catalog, target, batch, inner, budget).forEach((row, index) => {
      const theirs = batch[index]?.[spec.theirs];
      for (const key of (Array.isArray(theirs) ? theirs : [theirs]).map(String))
        found.set(key, [...(found.get(key) ?? []), row]);
    });
  }
  documents.forEach((document, index) => {
    const matches = keysOf(document).flatMap((key) => found.get(key) ?? []);
    budget.spend(matches.reduce((sum, match) => sum + weight(match), 0));
    const row = rows[index];
    if (row !== undefined) row[name] = spec.many ? matches : (matches[0] ?? null);
  });
}
