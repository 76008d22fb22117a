import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildOpenApi } from '../../packages/contract/src/index.ts';
import { MiB } from './pair.ts';
import { Solo } from './solo.ts';

/** A cluster that tells which names of files, which SQL and which programs its processes use. */
const cluster = new Solo();
const seen = join(cluster.directory, 'seen');
/** In each text that a request carries; it is part of no word of the product's own. */
const mark = 'zq9xmark';
const texts = [mark, `${mark}'"; DROP TABLE volume; --`, `../../${mark}/../x`, `$(touch ${mark})`];

interface Schema {
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly minimum?: number;
}
interface Operation {
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
}
const { paths } = buildOpenApi('0') as unknown as {
  paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
};

let cookie = '';
let token = '';
const known = new Map<string, string>();

beforeAll(async () => {
  process.env.NODE_OPTIONS = `--import ${join(import.meta.dirname, 'watch-names.ts')}`;
  process.env.MARK_TO_WATCH = mark;
  process.env.MARKS_SEEN = seen;
  try {
    await cluster.start();
  } finally {
    delete process.env.NODE_OPTIONS;
  }
  await logIn();
  await made('volume', { name: 'v', size: 8 * MiB });
  await made('volume_group', { name: 'g' });
  await made('host', {
    name: 'h',
    os_type: 'Linux',
    initiators: [{ port_name: 'iqn.2020-01.x:1', port_type: 'iSCSI' }],
  });
  await made('snapshot_rule', { name: 's', interval: 'One_Day', desired_retention: 24 });
  await made('policy', { name: 'p', snapshot_rule_ids: [known.get('snapshot_rule')!] });
});
afterAll(() => cluster.remove());

/** Answers the status; a connection that ends without one is 0. */
function ask(
  method: string,
  path: string,
  body?: unknown,
): Promise<{ readonly status: number; readonly text: string }> {
  const { hostname, port } = new URL(cluster.url);
  return new Promise((resolve) => {
    const call = request(
      {
        ...{ host: hostname, port, method, path: `/api/rest/${path}`, rejectUnauthorized: false },
        headers: {
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(cookie === ''
            ? { authorization: `Basic ${Buffer.from(`admin:${cluster.password}`).toString('base64')}` }
            : { cookie, 'dell-emc-token': token }),
        },
      },
      (response) => {
        const { 'set-cookie': cookies, 'dell-emc-token': given } = response.headers;
        if (cookie === '' && cookies?.[0] !== undefined) cookie = cookies[0].split(';')[0]!;
        if (typeof given === 'string') token = given;
        let text = '';
        response.on('data', (part: Buffer) => (text += part.toString('utf8')));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      },
    );
    call.on('error', () => resolve({ status: 0, text: '' }));
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function logIn(): Promise<void> {
  cookie = '';
  expect((await ask('GET', 'login_session')).status).toBe(200);
}

async function made(resource: string, body: object): Promise<void> {
  const { status, text } = await ask('POST', resource, body);
  expect(status, text).toBe(201);
  known.set(resource, String((JSON.parse(text) as { id: string }).id));
}

/** A body that fits the schema as far as possible, with the text wherever one may stand; references lead to what is there. */
function bodyOf(schema: Schema, text: string, name = ''): unknown {
  if (schema.const !== undefined) return schema.const;
  if (schema.enum !== undefined) return schema.enum[0];
  if (schema.anyOf !== undefined) return bodyOf(schema.anyOf[0]!, text, name);
  const type = typeof schema.type === 'string' ? schema.type : schema.type?.find((one) => one !== 'null');
  if (type === 'object' || schema.properties !== undefined)
    return Object.fromEntries(
      Object.entries(schema.properties ?? {}).map(([key, inner]) => [key, bodyOf(inner, text, key)]),
    );
  if (type === 'array') return schema.items === undefined ? [] : [bodyOf(schema.items, text, name.replace(/s$/, ''))];
  if (type === 'boolean') return false;
  if (type === 'integer' || type === 'number') return name.includes('size') ? 8 * MiB : (schema.minimum ?? 1);
  return (name.endsWith('_id') && known.get(name.slice(0, -3))) || text;
}

interface Seen {
  readonly call: string;
  readonly text?: string;
}
const whatWasSeen = (): Seen[] =>
  readFileSync(seen, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Seen);

describe('what a request says', () => {
  it('is in no name of a file, in no SQL and in no command, whatever the route and the field', async () => {
    const statuses = new Map<number, number>();
    let requests = 0;
    const say = async (method: string, path: string, body?: unknown): Promise<void> => {
      let answer = await ask(method, path, body);
      if (answer.status === 401 || answer.status === 403) {
        await logIn();
        answer = await ask(method, path, body);
      }
      requests += 1;
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
      expect(
        answer.status,
        `${method} ${path} ${JSON.stringify(body)?.slice(0, 300)}: ${answer.text.slice(0, 300)}`,
      ).toSatisfy((status: number) => status > 0 && status !== 500);
    };
    for (const text of texts) {
      const said = encodeURIComponent(text);
      for (const [path, operations] of Object.entries(paths)) {
        const relative = path.replace(/^\//, '');
        const resource = relative.split('/')[0]!;
        for (const [method, operation] of Object.entries(operations)) {
          const schema = operation.requestBody?.content['application/json']?.schema;
          const ids = relative.includes('{id}')
            ? [said, `name:${said}`, ...(known.has(resource) ? [known.get(resource)!] : [])]
            : [''];
          for (const id of ids) {
            // What is there stays there for the other routes.
            if (method === 'delete' && id === known.get(resource)) continue;
            const target = relative.replace('{id}', id);
            if (method === 'get' && id === '')
              for (const query of [
                `name=eq.${said}`,
                `${said}=eq.1`,
                `select=${said}`,
                `order=${said}`,
                `id=in.(${said})`,
              ])
                await say('GET', `${target}?${query}`);
            else await say(method.toUpperCase(), target, schema && bodyOf(schema, text));
          }
        }
      }
      // Each alone, since one wrong field of many is enough for a refusal.
      for (const [name, body] of [
        ['volume', { size: 8 * MiB }],
        ['volume_group', {}],
        ['host_group', { host_ids: [known.get('host')] }],
        ['policy', {}],
        ['local_user', { password: 'Spring-Tide-7', role_id: '4' }],
      ] as const)
        await say('POST', name, { ...body, name: text });
      await say('POST', `volume/${known.get('volume')}/snapshot`, { name: text });
      await say('PATCH', `volume/${known.get('volume')}`, { description: text });
      await say('GET', `${said}/${said}`);
    }
    await logIn();
    expect(requests).toBeGreaterThan(1_000);
    // Many were carried out, so they came as far as there is to come.
    expect((statuses.get(201) ?? 0) + (statuses.get(204) ?? 0) + (statuses.get(200) ?? 0)).toBeGreaterThan(50);
    console.log(`${requests} requests: ${[...statuses].map(([status, count]) => `${status} ${count}`).join(', ')}`);
    const calls = new Set(whatWasSeen().map(({ call }) => call));
    for (const call of ['sqlite.prepare', 'sqlite.exec', 'fs.openSync']) expect([...calls]).toContain(call);
    expect(whatWasSeen().filter(({ text }) => text !== undefined)).toEqual([]);
  }, 600_000);
});
