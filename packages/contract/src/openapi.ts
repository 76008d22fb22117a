import type { TSchema } from 'typebox';
import { enums } from './enums.ts';
import { catalogue } from './errors.ts';
import { twins } from './query/parse-query.ts';
import type { ActionSpec, FieldSpec, ResourceSpec } from './resource.ts';
import { absentCollections, absentFiles } from './resources/absent.ts';
import { resources } from './resources/index.ts';

type Json = Record<string, unknown>;

const refused = {
  description: 'Refused; the message says why.',
  content: { 'application/json': { schema: { $ref: '#/components/schemas/error_response' } } },
};
/** The statuses that are particular to an operation; others, such as 401 and 403, are everybody's. */
const errorAnswers = (statuses: readonly number[]): Json => ({
  ...Object.fromEntries(statuses.map((status) => [String(status), refused])),
  default: refused,
});
const json = (schema: Json): Json => ({ 'application/json': { schema } });
const upload = (field: string): Json => ({
  'multipart/form-data': {
    schema: { type: 'object', required: [field], properties: { [field]: { type: 'string', format: 'binary' } } },
  },
});
const plain = (schema: TSchema): Json => JSON.parse(JSON.stringify(schema)) as Json;

function fieldSchema(field: FieldSpec): Json {
  const { description } = field;
  const shape = field.shape && plain(field.shape);
  const literals = field.of === undefined ? undefined : { type: 'string', enum: [...enums[field.of]] };
  switch (field.type) {
    case 'string':
      return { type: ['string', 'null'], description };
    case 'int':
      return { type: ['integer', 'null'], format: 'int64', description };
    case 'boolean':
      return { type: ['boolean', 'null'], description };
    case 'timestamp':
      return { type: ['string', 'null'], format: 'date-time', description };
    case 'enum':
      return { ...literals, type: ['string', 'null'], enum: [...(literals?.enum ?? []), null], description };
    case 'object':
      return shape === undefined
        ? { type: ['object', 'null'], description }
        : { anyOf: [shape, { type: 'null' }], description };
    case 'list':
      return { type: ['array', 'null'], items: literals ?? shape ?? {}, description };
  }
}

function instanceSchema(resource: ResourceSpec): Json {
  const own = Object.entries(resource.fields).map(([name, field]) => [name, fieldSchema(field)]);
  const localized = twins(resource).map((name) => [
    name,
    { type: ['string', 'array', 'null'], description: 'The same in words.' },
  ]);
  const associations = Object.entries(resource.associations).map(([name, { resource: target, many, none }]) => {
    if (none) return [name, { type: ['array', 'null'], items: { type: 'object' }, description: 'Always empty here.' }];
    const ref = { $ref: `#/components/schemas/${target}_instance` };
    return [name, many ? { type: 'array', items: ref } : { anyOf: [ref, { type: 'null' }] }];
  });
  return {
    type: 'object',
    description: resource.description,
    properties: Object.fromEntries([...own, ...localized, ...associations]),
  };
}

function action(spec: ActionSpec, errors: readonly number[] = [400, 404, 422]): Json {
  return {
    summary: spec.summary,
    ...(spec.body && { requestBody: { required: spec.required ?? false, content: json(plain(spec.body)) } }),
    responses: {
      ...(spec.answer
        ? {
            '200': { description: 'Done.', content: json(plain(spec.answer)) },
            '204': { description: 'Done; there is nothing to tell of it.' },
          }
        : { '204': { description: 'Done.' } }),
      // What only looks is answered at once, always.
      ...(!spec.reads && {
        '202': {
          description: 'Begun; the job is named.',
          content: json({ $ref: '#/components/schemas/create_response' }),
        },
      }),
      ...errorAnswers(errors),
    },
  };
}

/** The interface as an OpenAPI 3.1 document, made from the same specifications that routes and validation use. */
export function buildOpenApi(version: string): Json {
  const paths: Record<string, Json> = {};
  const idParameter = (resource: ResourceSpec) => ({
    name: 'id',
    in: 'path',
    required: true,
    schema: { type: 'string' },
    description: resource.byName ? 'Id, or name:NAME.' : 'Id.',
  });
  for (const resource of Object.values(resources)) {
    const ref = { $ref: `#/components/schemas/${resource.name}_instance` };
    const collection: Json = {
      get: {
        summary: `List: ${resource.description}`,
        responses: {
          '200': { description: 'All.', content: json({ type: 'array', items: ref }) },
          '206': { description: 'A page; Content-Range says which.', content: json({ type: 'array', items: ref }) },
          ...errorAnswers([400, 416]),
        },
      },
    };
    if (resource.create) {
      collection.post = {
        summary: `Create: ${resource.description}`,
        requestBody: {
          required: true,
          content:
            resource.create.upload === undefined ? json(plain(resource.create.body)) : upload(resource.create.upload),
        },
        responses: {
          '201': {
            description: 'Created.',
            content: json(
              resource.create.answer === undefined
                ? { $ref: '#/components/schemas/create_response' }
                : plain(resource.create.answer),
            ),
          },
          '202': {
            description: 'Begun; the job is named.',
            content: json({ $ref: '#/components/schemas/create_response' }),
          },
          ...errorAnswers([400, 404, 422]),
        },
      };
    }
    if (!resource.noList) paths[`/${resource.name}`] = collection;
    if (!resource.noInstance) {
      const instance: Json = {
        parameters: [idParameter(resource)],
        get: {
          summary: resource.description,
          responses: { '200': { description: 'The instance.', content: json(ref) }, ...errorAnswers([400, 404]) },
        },
      };
      if (resource.modify)
        instance.patch = action({
          summary: `Modify: ${resource.description}`,
          body: resource.modify.body,
          required: true,
        });
      if (resource.remove)
        instance.delete = action({
          summary: `Delete: ${resource.description}`,
          ...(resource.remove.body && { body: resource.remove.body }),
        });
      paths[`/${resource.name}/{id}`] = instance;
    }
    for (const [name, spec] of Object.entries(resource.actions))
      paths[`/${resource.name}/{id}/${name}`] = { parameters: [idParameter(resource)], post: action(spec) };
    for (const [name, spec] of Object.entries(resource.collectionActions ?? {}))
      paths[`/${resource.name}/${name}`] = { post: action(spec) };
  }
  for (const name of [...absentCollections, ...absentFiles]) {
    const nothing = { description: 'There are none here.', content: json({ type: 'array', maxItems: 0 }) };
    paths[`/${name}`] = {
      post: { summary: 'None can be created.', responses: errorAnswers([422]) },
      get: { summary: 'Always empty.', responses: { '200': nothing, ...errorAnswers([400]) } },
    };
    paths[`/${name}/{id}`] = { get: { summary: 'There are none.', responses: errorAnswers([404]) } };
  }
  paths['/logout'] = { post: action({ summary: 'End the session.', reads: true }, [400, 422]) };
  return {
    openapi: '3.1.0',
    info: {
      title: 'Antipode',
      version,
      description: 'Block storage with replication between sites, on the PowerStore REST interface.',
    },
    servers: [{ url: '/api/rest' }],
    security: [{ basic: [] }, { cookie: [] }],
    paths,
    components: {
      securitySchemes: {
        basic: { type: 'http', scheme: 'basic' },
        cookie: { type: 'apiKey', in: 'cookie', name: 'auth_cookie' },
      },
      schemas: {
        create_response: { type: 'object', required: ['id'], properties: { id: { type: 'string' } } },
        error_response: {
          type: 'object',
          required: ['messages'],
          properties: {
            messages: {
              type: 'array',
              items: {
                type: 'object',
                required: ['code', 'severity', 'message_l10n'],
                properties: {
                  code: { type: 'string', enum: [...new Set(Object.values(catalogue).map((entry) => entry.code))] },
                  severity: { type: 'string', enum: ['Info', 'Warning', 'Error'] },
                  severity_l10n: { type: 'string' },
                  message_l10n: { type: 'string' },
                  arguments: { type: 'array', items: { type: 'string' } },
                },
              },
            },
          },
        },
        ...Object.fromEntries(
          Object.values(resources).map((resource) => [`${resource.name}_instance`, instanceSchema(resource)]),
        ),
      },
    },
  };
}
