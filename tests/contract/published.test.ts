import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  absentCollections,
  absentFiles,
  buildOpenApi,
  enums,
  type FieldSpec,
  type ResourceSpec,
  resources,
} from '@antipode/contract';
import { describe, expect, it } from 'vitest';
import { differences } from './differences.ts';

/** Facts of the published interface; they are not part of this project, and where they are missing there is nothing to compare with. */
const place =
  process.env.POWERSTORE_FACTS ?? join(import.meta.dirname, '../../../shared/contract/powerstore-4.1.facts.json');
const facts = existsSync(place) ? (JSON.parse(readFileSync(place, 'utf8')) as Facts) : undefined;
if (facts === undefined) console.log('skipped: the comparison with the published interface needs its facts');

interface Property {
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly string[];
  readonly $ref?: string;
  readonly items?: Property;
  readonly 'x-ref'?: string;
}
interface Definition {
  readonly properties?: Readonly<Record<string, Property>>;
  readonly required?: readonly string[];
  readonly enum?: readonly string[];
}
interface Operation {
  readonly body?: { readonly schema?: { readonly $ref?: string } } | null;
  readonly responses: Readonly<Record<string, unknown>>;
}
interface Facts {
  readonly definitions: Readonly<Record<string, Definition>>;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

const methods = ['get', 'post', 'patch', 'delete'] as const;
const document = JSON.parse(JSON.stringify(buildOpenApi('4.1.0.0'))) as {
  paths: Record<string, Record<string, { requestBody?: unknown; responses: Record<string, unknown> }>>;
};
const definitionOf = (reference: string | undefined): Definition | undefined =>
  reference === undefined ? undefined : facts?.definitions[reference.replace('#/definitions/', '')];
const literalsOf = (property: Property | undefined): readonly string[] | undefined =>
  property?.enum ?? definitionOf(property?.$ref)?.enum ?? (property?.items && literalsOf(property.items));

/** What the published interface calls the kinds of attributes. */
function kindOf(property: Property): FieldSpec['type'] | 'other' {
  if (literalsOf(property) !== undefined) return property.items === undefined ? 'enum' : 'list';
  if (property.type === 'array') return 'list';
  if (property.type === 'integer') return 'int';
  if (property.type === 'boolean') return 'boolean';
  if (property.type === 'string') return property.format === 'date-time' ? 'timestamp' : 'string';
  return property.$ref === undefined && property.type === 'number' ? 'other' : 'object';
}

function compareAttributes(resource: ResourceSpec): string[] {
  const published = facts?.definitions[`${resource.name}_instance`]?.properties;
  if (published === undefined) return [];
  const found: string[] = [];
  const twins = new Set(Object.keys(published).filter((name) => name.endsWith('_l10n')));
  for (const [name, property] of Object.entries(published)) {
    const where = `${resource.name}.${name}`;
    const field = resource.fields[name];
    const association = resource.associations[name];
    if (field === undefined && association === undefined) {
      if (!twins.has(name)) found.push(`${where} is missing`);
      else if (resource.fields[name.slice(0, -'_l10n'.length)] === undefined) found.push(`${where} is missing`);
      continue;
    }
    if (field === undefined) continue;
    const kind = kindOf(property);
    if (kind !== field.type) found.push(`${where} is ${field.type}, published as ${kind}`);
    found.push(...compareShape(where, field, property));
    const literals = literalsOf(property);
    if (literals === undefined || field.of === undefined) continue;
    const ours: readonly string[] = enums[field.of];
    for (const literal of literals) if (!ours.includes(literal)) found.push(`${where} lacks ${literal}`);
    for (const literal of ours) if (!literals.includes(literal)) found.push(`${where} has ${literal} besides`);
  }
  for (const name of [...Object.keys(resource.fields), ...Object.keys(resource.associations)])
    if (published[name] === undefined) found.push(`${resource.name}.${name} is not published`);
  return found;
}

/**
 * What stands inside of an attribute, name by name. Of a resource itself nothing is published as required: what of it is answered is what
 * was selected. Within some attributes names are.
 */
function compareShape(where: string, field: FieldSpec, property: Property): string[] {
  const shape = field.shape as { properties?: Record<string, unknown>; required?: string[] } | undefined;
  const ours = shape?.properties;
  const definition = definitionOf(property.$ref ?? property.items?.$ref);
  const theirs = definition?.properties;
  if (ours === undefined || theirs === undefined) return [];
  return [
    ...(definition?.required ?? [])
      .filter((name) => ours[name] !== undefined && !(shape?.required ?? []).includes(name))
      .map((name) => `${where}.${name} may be absent`),
    ...Object.keys(theirs)
      .filter((name) => ours[name] === undefined)
      .map((name) => `${where}.${name} is missing`),
    ...Object.keys(ours)
      .filter((name) => theirs[name] === undefined)
      .map((name) => `${where}.${name} is not published`),
  ];
}

function compareBody(path: string, method: string, ours: object | undefined, theirs: Definition | undefined): string[] {
  const where = `${method.toUpperCase()} ${path}`;
  const body = ours as { properties?: Record<string, unknown>; required?: string[] } | undefined;
  if (body === undefined) return Object.keys(theirs?.properties ?? {}).length > 0 ? [`${where} takes no body`] : [];
  const found: string[] = [];
  const published = theirs?.properties ?? {};
  for (const name of Object.keys(published))
    if (body.properties?.[name] === undefined) found.push(`${where} does not take ${name}`);
  for (const name of Object.keys(body.properties ?? {}))
    if (published[name] === undefined) found.push(`${where} takes ${name} besides`);
  for (const name of body.required ?? [])
    if (!(theirs?.required ?? []).includes(name)) found.push(`${where} requires ${name}`);
  for (const name of theirs?.required ?? [])
    if (!(body.required ?? []).includes(name)) found.push(`${where} does not require ${name}`);
  return found;
}

function bodyOf(resource: ResourceSpec, path: string, method: string): object | undefined {
  const last = path.split('/').at(-1) ?? '';
  if (method === 'patch') return resource.modify?.body;
  if (method === 'delete') return resource.remove?.body;
  if (path === `/${resource.name}`) return resource.create?.body;
  return (path.includes('{id}') ? resource.actions : resource.collectionActions)?.[last]?.body;
}

/** `PATCH /volume/{id}` as the row of the volume says it. */
const within = (operation: string): string => {
  const [method = '', path = ''] = operation.split(' ');
  return [method, path.split('/').slice(2).join('/')].filter((part) => part !== '').join(' ');
};
const resourceOf = (operation: string): string => operation.split('/')[1] ?? '';

function compatibilityPage(
  operations: readonly string[],
  published: readonly string[],
  reviewed: readonly (readonly [string, string])[],
): string {
  const rows = (lines: readonly (readonly string[])[]) => lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
  const of = (all: readonly string[], resource: string) =>
    all
      .filter((operation) => resourceOf(operation) === resource)
      .map((operation) => `\`${within(operation)}\``)
      .join(', ');
  const answeredOnes = [...new Set(operations.map(resourceOf))].sort();
  const missing = published.filter((operation) => !operations.includes(operation));
  const others = [...new Set(missing.map(resourceOf))].filter((name) => !answeredOnes.includes(name)).sort();
  const empty = [...absentCollections, ...absentFiles];
  const names = (list: readonly string[]) => list.map((name) => `\`${name}\``).join(', ');
  return `# Compatibility

<!-- Written by tests/contract/published.test.ts: vitest --update, where the facts of the published interface are at hand. -->

${operations.length} of ${published.length} operations of PowerStore's REST interface 4.1 are answered as it is published; the differences that there are
stand below, each with its reason. Bodies and attributes: [the REST interface](api.md).

## What is answered

${rows([['resource', 'answered', 'not answered'], ['---', '---', '---'], ...answeredOnes.map((name) => [name, of(operations, name), of(missing, name)])])}

An operation that is not answered is 404 or, on a resource that is answered, 405, with a message that says so. Of these there is nothing here and nothing can be made,
and a collection of nothing is what is answered: ${names(others.filter((name) => empty.includes(name)))}.

Nothing of these is answered: ${names(others.filter((name) => !empty.includes(name)))}.

## Differences

| difference | reason |
|---|---|
${rows(reviewed.map(([difference, reason]) => [`\`${difference}\``, reason]))}
`;
}

/** An asterisk in a pattern stands for anything. */
function fits(pattern: string, difference: string): boolean {
  const [head = '', ...rest] = pattern.split('*');
  const tail = rest.pop();
  if (tail === undefined) return pattern === difference;
  return difference.length >= head.length + tail.length && difference.startsWith(head) && difference.endsWith(tail);
}

/** Collections of what cannot exist here are in the document and are no operations that are answered as published. */
const isEmpty = (path: string): boolean => [...absentCollections, ...absentFiles].includes(path.split('/')[1] ?? '');

const answered: string[] = [];
const found: string[] = Object.values(resources).flatMap((resource) =>
  facts === undefined ? [] : compareAttributes(resource),
);
for (const [path, operations] of Object.entries(facts?.paths ?? {})) {
  const resource = resources[path.split('/')[1] ?? ''];
  for (const method of methods) {
    const theirs = operations[method];
    const ours = document.paths[path]?.[method];
    if (theirs === undefined || ours === undefined || isEmpty(path)) continue;
    answered.push(`${method.toUpperCase()} ${path}`);
    for (const status of Object.keys(ours.responses))
      if (theirs.responses[status] === undefined && status !== 'default')
        found.push(`${method.toUpperCase()} ${path} may answer ${status}`);
    for (const status of Object.keys(theirs.responses))
      if (ours.responses[status] === undefined) found.push(`${method.toUpperCase()} ${path} never answers ${status}`);
    if (resource !== undefined && method !== 'get')
      found.push(...compareBody(path, method, bodyOf(resource, path, method), definitionOf(theirs.body?.schema?.$ref)));
  }
}

describe.skipIf(facts === undefined)('beside the published interface', () => {
  it('every difference is one that was looked at, with a reason; none is listed that there is no more', () => {
    const reviewed = Object.keys(differences);
    const explains = (difference: string) => reviewed.find((pattern) => fits(pattern, difference));
    expect(found.filter((difference) => explains(difference) === undefined)).toEqual([]);
    const used = new Set(found.map(explains));
    expect(reviewed.filter((pattern) => !used.has(pattern))).toEqual([]);
  });

  it('the page on compatibility says what is answered (update with vitest -u)', async () => {
    const published = Object.entries(facts?.paths ?? {}).flatMap(([path, operations]) =>
      methods.filter((method) => operations[method] !== undefined).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const used = new Set(Object.keys(differences));
    const text = compatibilityPage(
      answered,
      published,
      [...used].map((name) => [name, differences[name] ?? '']),
    );
    await expect(text).toMatchFileSnapshot('../../docs/compatibility.md');
  });
});
