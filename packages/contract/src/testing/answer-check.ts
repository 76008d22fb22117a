import Schema from 'typebox/schema';
import { catalogue } from '../errors.ts';
import { buildOpenApi } from '../openapi.ts';

/** What was asked and answered, as a client sees it. */
export interface Answered {
  readonly method: string;
  /** With the query, from `/api/rest` on; everything else is not part of the published interface. */
  readonly url: string;
  readonly status: number;
  readonly contentRange: string | undefined;
  /** Parsed; undefined: none. */
  readonly body: unknown;
}

interface Operation {
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: object }>> }>
  >;
}

const prefix = '/api/rest/';
/** Not described by itself. */
const itself = /^openapi(\.json)?$/;

const document = strict(JSON.parse(JSON.stringify(buildOpenApi('4.1.0.0')))) as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: object;
};
const compiled = new Map<string, ReturnType<typeof Schema.Compile>>();
const statusOf = new Map(Object.values(catalogue).map(({ code, status }) => [code as string, status as number]));

/**
 * What is wrong with an answer in the light of the published schemas; undefined: nothing. More is asked of an answer than the document
 * promises: it has no attribute that the document does not name, and the status of an error is that of its code.
 */
export function wrongAnswer(answered: Answered): string | undefined {
  if (!answered.url.startsWith(prefix)) return undefined;
  const path = answered.url.slice(prefix.length).split('?')[0]!.replace(/\/$/, '');
  if (itself.test(path)) return undefined;
  const wrong = answered.status >= 400 ? wrongError(answered) : wrongSuccess(answered, path);
  return wrong && `${answered.method} ${answered.url.slice(0, 300)} answered ${answered.status}: ${wrong}`;
}

/** Throws what {@link wrongAnswer} says. */
export function checkAnswer(answered: Answered): void {
  const wrong = wrongAnswer(answered);
  if (wrong !== undefined) throw new Error(wrong);
}

function wrongError({ method, status, body }: Answered): string | undefined {
  if (method === 'HEAD') return undefined;
  const wrong = mismatch('error', { $ref: '#/components/schemas/error_response' }, body);
  if (wrong !== undefined) return wrong;
  const { messages } = body as { readonly messages: readonly { readonly code: string }[] };
  if (messages.length === 0) return 'an error without a message';
  const expected = statusOf.get(messages[0]!.code);
  return expected === status || [408, 431].includes(status) ? undefined : `the code's status is ${expected}`;
}

function wrongSuccess({ method, status, contentRange, body }: Answered, path: string): string | undefined {
  const template = templateOf(path);
  const operation =
    template === undefined ? undefined : document.paths[template]?.[method === 'HEAD' ? 'get' : method.toLowerCase()];
  if (operation === undefined) return 'the operation is not published';
  const response = operation.responses[String(status)];
  if (response === undefined) return `only ${Object.keys(operation.responses).join(', ')} are published`;
  if (status === 206 && !/^\d+-\d+\/\d+$/.test(contentRange ?? '')) return `a page without its range: ${contentRange}`;
  const schema = response.content?.['application/json']?.schema;
  if (method === 'HEAD') return undefined;
  if (schema === undefined) return body === undefined ? undefined : 'a body where none is published';
  return mismatch(`${template} ${method} ${status}`, schema, body);
}

function templateOf(path: string): string | undefined {
  const [name, id, action] = path.split('/');
  const candidates = [`/${path}`, `/${name}/{id}${action === undefined ? '' : `/${action}`}`];
  const found = candidates.find((candidate) => document.paths[candidate] !== undefined);
  return id === undefined ? candidates.find((candidate) => candidate === `/${path}`) : found;
}

function mismatch(key: string, schema: object, value: unknown): string | undefined {
  let check = compiled.get(key);
  if (check === undefined) {
    check = Schema.Compile({ ...schema, components: document.components } as never);
    compiled.set(key, check);
  }
  if (check.Check(value as never)) return undefined;
  const [, errors] = check.Errors(value as never);
  const said = errors
    .slice(0, 5)
    .map(({ instancePath, message, params }) => `${instancePath || '/'} ${message} ${JSON.stringify(params)}`);
  return `${said.join('; ')} in ${JSON.stringify(value)?.slice(0, 600)}`;
}

/** Objects have what is named, and nothing else. */
function strict(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(strict);
  if (typeof value !== 'object' || value === null) return value;
  const inner = Object.fromEntries(Object.entries(value).map(([name, part]) => [name, strict(part)]));
  const closed =
    inner.type === 'object' && typeof inner.properties === 'object' && inner.additionalProperties === undefined;
  return closed ? { ...inner, additionalProperties: false } : inner;
}
