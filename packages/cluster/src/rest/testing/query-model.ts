import { enums, type FieldSpec, type ResourceSpec } from '@antipode/contract';

export type Row = Readonly<Record<string, unknown>>;

/** One condition as it is meant, before it is written down as a query. */
export interface Condition {
  readonly field: string;
  readonly path: readonly string[];
  readonly not: boolean;
  readonly operator: string;
  readonly operands: readonly string[];
}

/** What the query grammar says of a condition and a row, in plain loops. */
export function holds(condition: Condition, row: Row, resource: ResourceSpec): boolean {
  const spec = resource.fields[condition.field]!;
  let value: unknown = row[condition.field] ?? null;
  for (const step of condition.path) value = (value as Row | null)?.[step] ?? null;
  return test(condition, value, condition.path.length > 0 ? undefined : spec) !== condition.not;
}

function test({ operator, operands }: Condition, value: unknown, spec: FieldSpec | undefined): boolean {
  const [first = ''] = operands;
  if (operator === 'is') return first === 'null' ? value === null : value === (first === 'true');
  if (value === null) return operator === 'neq';
  if (Array.isArray(value)) {
    const items = value.map((item) => fold(String(item)));
    const asked = operands.map(fold);
    return operator === 'cs'
      ? asked.every((item) => items.includes(item))
      : items.every((item) => asked.includes(item));
  }
  switch (operator) {
    case 'like':
      return matches(String(value), first);
    case 'ilike':
      return matches(fold(String(value)), fold(first));
    case 'in':
      return operands.some((operand) => compared(value, operand, spec) === 0);
    default: {
      const order = compared(value, first, spec);
      return { eq: order === 0, neq: order !== 0, gt: order > 0, gte: order >= 0, lt: order < 0, lte: order <= 0 }[
        operator
      ]!;
    }
  }
}

/** Below zero, zero, above: as the kind of the attribute is ordered. */
function compared(value: unknown, operand: string, spec: FieldSpec | undefined): number {
  const numeric = spec === undefined ? typeof value === 'number' && /^-?\d+$/.test(operand) : spec.type === 'int';
  if (numeric) return Number(value) - Number(operand);
  if (spec?.type === 'timestamp') return Date.parse(String(value)) - Date.parse(operand);
  if (spec?.type === 'boolean') return Number(value) - Number(operand.toLowerCase() === 'true');
  return byBytes(fold(String(value)), fold(operand));
}

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
const fold = (text: string): string => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

/** A pattern in which `*` stands for anything, by trying. */
function matches(text: string, pattern: string): boolean {
  const parts = pattern.split('*');
  if (parts.length === 1) return text === pattern;
  const [head = '', ...rest] = parts;
  const tail = rest.pop() ?? '';
  if (!text.startsWith(head)) return false;
  let at = head.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return text.length - tail.length >= at && text.endsWith(tail);
}

/** Rows in the order that is asked for; what has no value is above all others, and ties stay as they were made. */
export function ordered(
  rows: readonly Row[],
  order: readonly { readonly field: string; readonly descending: boolean }[],
  resource: ResourceSpec,
): readonly Row[] {
  const rank = (value: unknown, field: string): number | string | null => {
    if (value == null) return null;
    if (typeof value === 'boolean') return Number(value);
    if (typeof value === 'number') return value;
    return resource.fields[field]?.type === 'string' && field === 'name' ? fold(String(value)) : String(value);
  };
  return rows.toSorted((left, right) => {
    for (const { field, descending } of order) {
      const [a, b] = [rank(left[field], field), rank(right[field], field)];
      if (a === b) continue;
      const up =
        a === null ? 1 : b === null ? -1 : typeof a === 'string' ? byBytes(a, String(b)) : Number(a) - Number(b);
      if (up !== 0) return descending ? -up : up;
    }
    return 0;
  });
}

/** Operators that a kind of attribute takes. */
export const operatorsOf: Readonly<Record<FieldSpec['type'], readonly string[]>> = {
  string: ['eq', 'neq', 'gt', 'gte', 'lt', 'lte', 'in', 'like', 'ilike', 'is'],
  enum: ['eq', 'neq', 'gt', 'gte', 'lt', 'lte', 'in', 'like', 'ilike', 'is'],
  int: ['eq', 'neq', 'gt', 'gte', 'lt', 'lte', 'in', 'is'],
  timestamp: ['eq', 'neq', 'gt', 'gte', 'lt', 'lte', 'in', 'is'],
  boolean: ['eq', 'neq', 'gt', 'gte', 'lt', 'lte', 'in', 'is'],
  list: ['cs', 'cd', 'is'],
  object: ['is'],
};
export const allOperators = ['eq', 'neq', 'gt', 'gte', 'lt', 'lte', 'in', 'like', 'ilike', 'is', 'cs', 'cd'] as const;

export const literalsOf = (spec: FieldSpec): readonly string[] => (spec.of === undefined ? [] : enums[spec.of]);
