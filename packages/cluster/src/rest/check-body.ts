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
  const given = body ?? {};
  if (schema === undefined) {
    if (typeof given !== 'object' || Array.isArray(given) || Object.keys(given).length > 0)
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
