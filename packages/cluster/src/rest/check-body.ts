import { RestError } from '@antipode/contract';
import type { TObject } from 'typebox';
import { Compile } from 'typebox/compile';

interface Checker {
  Check(value: unknown): boolean;
  Errors(value: unknown): Iterable<{
    readonly instancePath: string;
    readonly message: string;
    readonly keyword: string;
    readonly params: unknown;
  }>;
}

const compiled = new WeakMap<TObject, Checker>();

/** Refuses a body that is not of its schema, naming the property and what is allowed; nothing has happened by then. */
export function checkBody(schema: TObject | undefined, body: unknown): unknown {
  const given = asMeant(schema, body ?? {});
  if (schema === undefined) {
    if (typeof given !== 'object' || given === null || Array.isArray(given) || Object.keys(given).length > 0)
      throw new RestError('schema_violation', '/', 'no properties are expected');
    return {};
  }
  let checker = compiled.get(schema);
  if (checker === undefined) {
    checker = Compile(schema) as Checker;
    compiled.set(schema, checker);
  }
  if (checker.Check(given)) return given;
  throw violation(schema, given, checker);
}

/** Outside the published interface: clients send it along with anything, and it changes nothing here. */
const accepted = 'force_internal';

/**
 * What may be left out may also be null: gopowerstore sends lists that it was not given as null, Cinder names. Where null means something,
 * the schema says so, and it stays.
 */
function asMeant(schema: TObject | undefined, given: unknown): unknown {
  if (schema === undefined || typeof given !== 'object' || given === null || Array.isArray(given)) return given;
  const required = new Set<string>(schema.required ?? []);
  const properties = schema.properties as Record<string, { readonly anyOf?: readonly { readonly type?: string }[] }>;
  const dropped = Object.entries(given).filter(([name, value]) => {
    if (name === accepted && typeof value === 'boolean') return true;
    if (value !== null || required.has(name) || !Object.hasOwn(properties, name)) return false;
    return !(properties[name]?.anyOf?.some(({ type }) => type === 'null') ?? false);
  });
  if (dropped.length === 0) return given;
  const gone = new Set(dropped.map(([name]) => name));
  return Object.fromEntries(Object.entries(given).filter(([name]) => !gone.has(name)));
}

function violation(schema: TObject, given: unknown, checker: Checker): RestError {
  const properties = schema.properties as Record<string, unknown>;
  if (typeof given === 'object' && given !== null && !Array.isArray(given)) {
    const unknown = Object.keys(given).find((name) => !Object.hasOwn(properties, name));
    if (unknown !== undefined)
      return new RestError(
        'schema_violation',
        `/${clip(unknown)}`,
        `this property is not known; allowed are ${Object.keys(properties).join(', ') || 'none'}`,
      );
  }
  for (const error of checker.Errors(given)) {
    const detail = error.params as {
      allowedValues?: readonly unknown[];
      requiredProperties?: readonly string[];
      missingProperty?: string;
    };
    const missing = detail.requiredProperties?.[0] ?? detail.missingProperty;
    if (missing !== undefined)
      return new RestError('schema_violation', `${error.instancePath}/${missing}`, 'this property is required');
    const allowed = detail.allowedValues === undefined ? '' : `: ${detail.allowedValues.join(', ')}`;
    return new RestError('schema_violation', error.instancePath || '/', `${error.message}${allowed}`);
  }
  return new RestError('schema_violation', '/', 'not of the expected form');
}

const clip = (text: string): string => (text.length > 80 ? `${text.slice(0, 80)}…` : text);
