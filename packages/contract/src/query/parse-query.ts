import { err, ok, type Result } from '@antipode/base';
import { enums } from '../enums.ts';
import type { AssociationSpec, FieldSpec, ResourceSpec } from '../resource.ts';

/** What `select` asks for: own fields, and associations with selections of their own. */
export interface Selection {
  readonly fields: readonly string[];
  readonly associations: Readonly<Record<string, Selection>>;
}

export type Operator = 'eq' | 'neq' | 'gt' | 'gte' | 'lt' | 'lte' | 'like' | 'ilike' | 'in' | 'is' | 'cs' | 'cd';

/** Where a filter looks: a field, and a path into it where it is an object or list. */
export interface Target {
  readonly field: string;
  readonly path: readonly (string | number)[];
}

export type Filter =
  | {
      readonly kind: 'compare';
      readonly target: Target;
      readonly operator: Operator;
      readonly values: readonly string[];
      readonly not: boolean;
    }
  | { readonly kind: 'all' | 'any'; readonly of: readonly Filter[] };

export interface Query {
  readonly selection: Selection;
  readonly filter: Filter;
  readonly order: readonly { readonly field: string; readonly descending: boolean }[];
  readonly limit: number;
  readonly offset: number;
}

export type QueryError =
  | { readonly kind: 'invalid'; readonly message: string }
  | { readonly kind: 'range'; readonly message: string };

/** Page length when nothing is asked for, and the most that is given. */
export const pageDefault = 100;
export const pageMost = 2000;

const operators: readonly Operator[] = ['eq', 'neq', 'gt', 'gte', 'lt', 'lte', 'like', 'ilike', 'in', 'is', 'cs', 'cd'];
const reserved = new Set(['select', 'order', 'limit', 'offset', 'and', 'or', 'is_async', 'async']);

const invalid = (message: string): Result<never, QueryError> => err({ kind: 'invalid', message });
const range = (message: string): Result<never, QueryError> => err({ kind: 'range', message });

/** Parses the query part of a GET (REPLICATION 7). `resources` is asked for associations. */
export function parseQuery(
  parameters: Iterable<readonly [string, string]>,
  rangeHeader: string | undefined,
  resource: ResourceSpec,
  resources: Readonly<Record<string, ResourceSpec>>,
): Result<Query, QueryError> {
  let selection: Selection = { fields: ['id'], associations: {} };
  const filters: Filter[] = [];
  let order: Query['order'] = [];
  let limit = pageDefault;
  let offset = 0;
  for (const [name, value] of parameters) {
    const lower = name.toLowerCase();
    if (lower === 'select') {
      const parsed = parseSelect(value, resource, resources);
      if (!parsed.ok) return parsed;
      selection = parsed.value;
    } else if (lower === 'order') {
      const parsed = parseOrder(value, resource);
      if (!parsed.ok) return parsed;
      order = parsed.value;
    } else if (lower === 'limit' || lower === 'offset') {
      if (!/^-?\d{1,15}$/.test(value)) return range(`${lower} is a whole number, not ${clip(value)}`);
      const number = Number(value);
      if (lower === 'limit' && number <= 0) return range('limit is at least 1');
      if (lower === 'offset' && number < 0) return range('offset is at least 0');
      if (lower === 'limit') limit = Math.min(number, pageMost);
      else offset = number;
    } else if (lower === 'and' || lower === 'or') {
      const parsed = parseGroup(value, lower === 'and' ? 'all' : 'any', resource);
      if (!parsed.ok) return parsed;
      filters.push(parsed.value);
    } else if (!reserved.has(lower)) {
      const parsed = parseFilter(name, value, resource);
      if (!parsed.ok) return parsed;
      filters.push(parsed.value);
    }
  }
  if (rangeHeader !== undefined) {
    const match = /^\s*(?:items=)?(\d{1,15})-(\d{1,15})?\s*$/.exec(rangeHeader);
    if (match === null) return range(`the Range header is "first-last", not ${clip(rangeHeader)}`);
    offset = Number(match[1]);
    const last = match[2] === undefined ? offset + pageDefault - 1 : Number(match[2]);
    if (last < offset) return range('the Range header ends before it begins');
    limit = Math.min(last - offset + 1, pageMost);
  }
  return ok({ selection, filter: { kind: 'all', of: filters }, order, limit, offset });
}

/** Only what `select` says, for a GET of one instance. */
export function parseSelect(
  text: string,
  resource: ResourceSpec,
  resources: Readonly<Record<string, ResourceSpec>>,
  depth = 0,
): Result<Selection, QueryError> {
  const parts = splitOutside(text, ',');
  if (parts === undefined || depth > 3) return invalid('select: brackets do not match, or are too deep');
  const fields = new Set<string>();
  const associations: Record<string, Selection> = {};
  for (const raw of parts) {
    const part = raw.trim();
    if (part === '') return invalid('select: an empty name');
    // `volume.volume_group_membership(…)`: a relation may be named after a dot; there is only one here, so it tells nothing.
    const nested = /^([A-Za-z0-9_]+)(?:\.[A-Za-z0-9_]+)?\s*\((.*)\)$/s.exec(part);
    const name = nested?.[1] ?? part;
    if (name === '*') {
      for (const field of Object.keys(resource.fields)) fields.add(field);
      for (const twin of twins(resource)) fields.add(twin);
      continue;
    }
    const association = own(resource.associations, name);
    const target = association && own(resources, association.resource);
    if (association !== undefined) {
      const inner =
        nested === null || association.none === true || target === undefined
          ? ok({ fields: ['id'], associations: {} } as Selection)
          : parseSelect(nested[2] ?? '', target, resources, depth + 1);
      if (!inner.ok) return inner;
      associations[name] = inner.value;
    } else if (isField(resource, name) && (nested === null || isWhole(resource, name, nested[2] ?? '')))
      fields.add(name);
    else return invalid(unknownAttribute(resource, name, Object.keys(resource.associations)));
  }
  return ok({ fields: [...fields], associations });
}

const hasTwin = (field: FieldSpec | undefined): boolean => field?.of !== undefined || field?.words === true;

/** Names of the localized twins of a resource’s enumerations. */
export const twins = (resource: ResourceSpec): readonly string[] =>
  Object.entries(resource.fields)
    .filter(([, field]) => hasTwin(field))
    .map(([name]) => `${name}_l10n`);

/** The field that a `*_l10n` twin shows in words. */
export const twinOf = (resource: ResourceSpec, name: string): string | undefined => {
  if (!name.endsWith('_l10n') || own(resource.fields, name) !== undefined) return undefined;
  const base = name.slice(0, -'_l10n'.length);
  return hasTwin(own(resource.fields, base)) ? base : undefined;
};

const isField = (resource: ResourceSpec, name: string): boolean =>
  own(resource.fields, name) !== undefined || twinOf(resource, name) !== undefined;

/** What is inside of an attribute comes as a whole; PyPowerStore names its parts all the same. */
function isWhole(resource: ResourceSpec, name: string, inner: string): boolean {
  const type = own(resource.fields, name)?.type;
  return (type === 'object' || type === 'list') && /^[\sA-Za-z0-9_,*]+$/.test(inner);
}

/** Own properties only: `constructor` is no attribute. */
function own<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

export const fieldOf = (resource: ResourceSpec, name: string): FieldSpec | undefined => own(resource.fields, name);
export const associationOf = (resource: ResourceSpec, name: string): AssociationSpec | undefined =>
  own(resource.associations, name);

function parseOrder(text: string, resource: ResourceSpec): Result<Query['order'], QueryError> {
  const order: { field: string; descending: boolean }[] = [];
  for (const part of text.split(',').map((item) => item.trim())) {
    const match = /^([A-Za-z0-9_]+)(?:\.(asc|desc))?$/i.exec(part);
    if (match === null) return invalid(`order: write name or name.desc, not ${clip(part)}`);
    if (fieldOf(resource, match[1]!) === undefined) return invalid(`order: ${unknownAttribute(resource, match[1]!)}`);
    order.push({ field: match[1]!, descending: match[2]?.toLowerCase() === 'desc' });
  }
  return ok(order);
}

function parseGroup(text: string, kind: 'all' | 'any', resource: ResourceSpec, depth = 0): Result<Filter, QueryError> {
  const inner = /^\s*\((.*)\)\s*$/s.exec(text)?.[1];
  const parts = inner === undefined ? undefined : splitOutside(inner, ',');
  if (parts === undefined || depth > 4) return invalid('and/or take a list in brackets: and=(name.eq.a,size.gt.5)');
  const of: Filter[] = [];
  for (const raw of parts) {
    const part = raw.trim();
    const nested = /^(and|or)\s*(\(.*\))$/is.exec(part);
    const parsed =
      nested === null
        ? parseDotted(part, resource)
        : parseGroup(nested[2]!, nested[1]!.toLowerCase() === 'and' ? 'all' : 'any', resource, depth + 1);
    if (!parsed.ok) return parsed;
    of.push(parsed.value);
  }
  return ok({ kind, of });
}

function parseDotted(text: string, resource: ResourceSpec): Result<Filter, QueryError> {
  const dot = text.indexOf('.');
  if (dot < 0) return invalid(`a condition is attribute.operator.value, not ${clip(text)}`);
  return parseFilter(text.slice(0, dot), text.slice(dot + 1), resource);
}

function parseFilter(name: string, value: string, resource: ResourceSpec): Result<Filter, QueryError> {
  const target = parseTarget(name, resource);
  if (target === undefined) return invalid(unknownAttribute(resource, name));
  const match = /^(not\.)?([a-z]+)\.(.*)$/is.exec(value);
  const operator = match?.[2]?.toLowerCase() as Operator | undefined;
  if (match === null || operator === undefined || !operators.includes(operator)) {
    return invalid(`${clip(name)}: a condition is [not.]operator.value with one of ${operators.join(', ')}`);
  }
  const not = match[1] !== undefined;
  const text = match[3]!;
  const values = valuesOf(operator, text);
  if (values === undefined) return invalid(`${clip(name)}: ${operator} does not take ${clip(text)}`);
  const field = fieldOf(resource, target.field);
  const wrong = target.path.length > 0 || field === undefined ? undefined : wrongValue(field, operator, values);
  if (wrong !== undefined) return invalid(`${clip(name)}: ${wrong}`);
  return ok({ kind: 'compare', target, operator, values, not });
}

function parseTarget(name: string, resource: ResourceSpec): Target | undefined {
  const [head, ...rest] = name.split(/->>?/);
  if (head === undefined || fieldOf(resource, head) === undefined) return undefined;
  const path: (string | number)[] = [];
  for (const step of rest) {
    if (!/^[A-Za-z0-9_]{1,64}$/.test(step)) return undefined;
    path.push(/^\d+$/.test(step) ? Number(step) : step);
  }
  return { field: head, path };
}

function valuesOf(operator: Operator, text: string): readonly string[] | undefined {
  switch (operator) {
    case 'in': {
      const inner = /^\((.*)\)$/s.exec(text)?.[1];
      return inner === undefined ? undefined : splitQuoted(inner);
    }
    case 'cs':
    case 'cd': {
      const inner = /^\{(.*)\}$/s.exec(text)?.[1];
      return inner === undefined ? undefined : splitQuoted(inner);
    }
    case 'is': {
      const word = text.toLowerCase();
      return word === 'null' || word === 'true' || word === 'false' ? [word] : undefined;
    }
    default:
      return [text];
  }
}

function wrongValue(field: FieldSpec, operator: Operator, values: readonly string[]): string | undefined {
  if (operator === 'is')
    return values[0] !== 'null' && field.type !== 'boolean' ? 'only true or false can be that' : undefined;
  if (field.type === 'object')
    return 'an attribute within it is compared, as in name->>attribute=eq.x; itself only with is.null';
  if ((operator === 'cs' || operator === 'cd') !== (field.type === 'list'))
    return field.type === 'list' ? 'a list is compared with cs or cd' : `${operator} is for lists`;
  if (operator === 'like' || operator === 'ilike')
    return field.type === 'string' || field.type === 'enum' ? undefined : `${operator} is for text`;
  if (field.type === 'enum') return wrongLiteral(field, values);
  if (field.type === 'int' && values.some((value) => !/^-?\d{1,19}$/.test(value))) return 'a whole number is needed';
  if (field.type === 'boolean' && values.some((value) => !/^(true|false)$/i.test(value)))
    return 'true or false is needed';
  if (field.type === 'timestamp' && values.some((value) => momentOf(value) === undefined))
    return 'a time such as 2026-01-31T12:00:00Z is needed';
  return undefined;
}

/** A moment as it is stored, of whatever ISO 8601 form it was asked for; without a zone it is UTC. Undefined: no moment. */
export function momentOf(text: string): string | undefined {
  // A plus that nobody encoded comes as a blank.
  const match = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:\.\d{1,9})?)?(?:Z|([+ -])(\d\d)(?::?(\d\d))?)?)?$/i.exec(
    text.trim(),
  );
  if (match === null) return undefined;
  const [, day, minutes = '00:00', seconds = ':00', sign, zoneHours, zoneMinutes = '00'] = match;
  const zone = zoneHours === undefined ? 'Z' : `${sign === '-' ? '-' : '+'}${zoneHours}:${zoneMinutes}`;
  const epoch_ms = Date.parse(`${day}T${minutes}${seconds}${zone}`);
  const stored = Number.isNaN(epoch_ms) ? undefined : new Date(epoch_ms).toISOString().replace('Z', '+00:00');
  // Beyond the years of four digits moments are not written in their order.
  return stored !== undefined && /^\d{4}-/.test(stored) ? stored : undefined;
}

function wrongLiteral(field: FieldSpec, values: readonly string[]): string | undefined {
  const literals: readonly string[] = field.of === undefined ? [] : enums[field.of];
  const stranger = values.find((value) => !literals.some((literal) => literal.toLowerCase() === value.toLowerCase()));
  return stranger === undefined ? undefined : `there is no ${clip(stranger)}; it is one of ${literals.join(', ')}`;
}

/** What to tell somebody who named an attribute that does not exist. */
const unknownAttribute = (resource: ResourceSpec, name: string, more: readonly string[] = []): string =>
  `${resource.name} has no attribute ${clip(name)}; it has ${[...Object.keys(resource.fields), ...more].sort().join(', ')}`;

/** Splits at commas outside of double quotes and takes the quotes off. */
function splitQuoted(text: string): string[] {
  const parts = text.match(/"(?:[^"\\]|\\.)*"|[^,]+/g) ?? [];
  return parts
    .map((part) => part.trim())
    .map((part) => (/^".*"$/s.test(part) ? part.slice(1, -1).replace(/\\(.)/g, '$1') : part));
}

/**
 * Splits at a separator outside of brackets, of the braces of a list, and of quotes around what is listed; undefined when they do not match.
 */
function splitOutside(text: string, separator: string): string[] | undefined {
  const parts: string[] = [];
  let depth = 0;
  let inBraces = false;
  let inQuotes = false;
  let from = 0;
  for (let at = 0; at < text.length; at++) {
    const letter = text[at];
    const before = text[at - 1] ?? '';
    if (inQuotes) {
      if (letter === '\\') at += 1;
      else if (letter === '"') inQuotes = false;
    } else if (letter === '"') inQuotes = (depth > 0 || inBraces) && '({,'.includes(before);
    else if (letter === '{' && before === '.') inBraces = true;
    else if (letter === '}') inBraces = false;
    else if (inBraces) continue;
    else if (letter === '(') depth += 1;
    else if (letter === ')') depth -= 1;
    else if (letter === separator && depth === 0) {
      parts.push(text.slice(from, at));
      from = at + 1;
    }
    if (depth < 0) return undefined;
  }
  parts.push(text.slice(from));
  return depth === 0 && !inBraces && !inQuotes ? parts : undefined;
}

const clip = (text: string): string => (text.length > 80 ? `${text.slice(0, 80)}…` : text);
