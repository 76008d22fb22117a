import { RestError } from '@antipode/contract';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { admin, type RestFixture, restFixture, volume } from './testing/rest-fixture.ts';

let rest: RestFixture;

beforeAll(async () => {
  rest = await restFixture();
  rest.catalog.put('volume', volume(1, { name: 'data' }));
  rest.catalog.put('volume', volume(2, { name: 'data', type: 'Snapshot' }));
  const managed = { managed_by: 'User', managed_by_id: null, is_read_only: false, is_replica: false } as const;
  const rules = { type: 'Protection', snapshot_rule_ids: [], replication_rule_ids: [], description: null } as const;
  rest.catalog.put('policy', { ...managed, ...rules, id: 'p1', name: 'gold' });
  rest.catalog.put('replication_session', { id: 's1', state: 'OK', local_resource_id: 'v1' } as never);
});
afterAll(() => rest.close());
beforeEach(() => {
  rest.calls.length = 0;
  rest.audits.length = 0;
  rest.answers.clear();
});

const refusal = (body: string) =>
  (JSON.parse(body) as { messages: { code: string; severity: string; message_l10n: string; arguments: string[] }[] })
    .messages[0];
const create = { name: 'new', size: 1_048_576 };

describe('changing requests', () => {
  it('answer 201 with the id, 204 with nothing, 200 with what was made', async () => {
    const made = await rest.send('POST', 'volume', create);
    expect([made.statusCode, made.json()]).toEqual([201, { id: 'made' }]);
    expect(rest.calls).toEqual([{ operation: 'volume.create', id: '', body: create }]);
    const modified = await rest.send('PATCH', 'volume/v1', { name: 'other' });
    expect([modified.statusCode, modified.body]).toEqual([204, '']);
    expect((await rest.send('DELETE', 'volume/v1', { immediate: true })).statusCode).toBe(204);
    rest.answers.set('volume.snapshot', async () => ({ id: 'snap' }));
    const snapshot = await rest.send('POST', 'volume/v1/snapshot', { name: 's' });
    expect([snapshot.statusCode, snapshot.json()]).toEqual([200, { id: 'snap' }]);
  });

  it('take no body, an empty one or {} where none is needed, with or without a content type', async () => {
    const json = { 'content-type': 'application/json' };
    for (const [body, headers] of [
      [undefined, {}],
      [undefined, json],
      ['', json],
      ['{}', json],
      ['{}', { 'content-type': 'application/json; charset=utf-8' }],
      ['null', json],
    ] as const) {
      const answer = await rest.app.inject({
        method: 'POST',
        url: '/api/rest/replication_session/s1/sync',
        headers: { ...admin, ...headers },
        ...(body !== undefined && { payload: body }),
      });
      expect([answer.statusCode, answer.body]).toEqual([204, '']);
    }
    expect(rest.calls).toHaveLength(6);
  });

  it('are jobs, and are audited, whatever their end', async () => {
    rest.answers.set('volume.modify', async () => {
      throw new RestError('size_not_larger', 'data', 'v1', '1', '2');
    });
    const answer = await rest.send('PATCH', 'volume/v1', { size: 1_048_576 });
    expect([answer.statusCode, refusal(answer.body)?.code]).toEqual([400, '0xE0A05001001A']);
    expect(refusal(answer.body)?.arguments).toEqual(['data', 'v1', '1', '2']);
    const jobs = await rest.get('job?resource_id=eq.v1&resource_action=eq.modify&state=eq.FAILED&select=*');
    expect(jobs.json()).toMatchObject([
      {
        resource_name: 'data',
        phase: 'Failed',
        response_status: '400',
        response_body: { response_type: 'error_response' },
      },
    ]);
    const [{ id: job } = { id: '' }] = jobs.json<{ id: string }[]>();
    expect(rest.audits).toEqual([{ operation: 'volume.modify', user: 'admin', status: 400, job }]);
  });

  it.each(['is_async=true', 'is_async=True', 'IS_ASYNC=TRUE', 'async=true'])(
    '?%s answers 202 and the job',
    async (query) => {
      let finish = (): void => undefined;
      const finished = new Promise<void>((resolve) => {
        finish = resolve;
      });
      rest.answers.set('volume.create', async (context) => {
        context.progress(40);
        await finished;
        return { id: 'later' };
      });
      const answer = await rest.send('POST', `volume?${query}`, create);
      expect(answer.statusCode).toBe(202);
      const { id } = answer.json<{ id: string }>();
      expect((await rest.get(`job/${id}?select=state,progress_percentage`)).json()).toEqual({
        state: 'IN_PROGRESS',
        progress_percentage: 40,
      });
      finish();
      await finished;
      await Promise.resolve();
      const after = await rest.get(`job/${id}?select=state,phase_l10n,resource_id,response_status`);
      expect(after.json()).toEqual({
        state: 'COMPLETED',
        phase_l10n: 'Completed',
        resource_id: 'later',
        response_status: '201',
      });
    },
  );

  it('are refused at once, asynchronous or not, when they are not valid', async () => {
    const answer = await rest.send('POST', 'volume?is_async=true', { ...create, size: 'big' });
    expect([answer.statusCode, refusal(answer.body)?.code]).toEqual([400, '0xE04040030001']);
    expect((await rest.send('PATCH', 'volume/gone?is_async=true', {})).statusCode).toBe(404);
    expect(rest.calls).toEqual([]);
  });

  it('say nothing of the inside when something unexpected happens', async () => {
    rest.answers.set('volume.create', async () => {
      throw new TypeError('secret detail');
    });
    const answer = await rest.send('POST', 'volume', create);
    expect(answer.statusCode).toBe(500);
    expect(answer.body).not.toMatch(/secret|TypeError|at /);
    expect(refusal(answer.body)?.code).toBe('0xE04040010001');
    expect(rest.errors).toHaveLength(1);
  });
});

describe('bodies', () => {
  it.each([
    [{ ...create, colour: 1 }, '/colour', 'allowed are'],
    [{ ...create, size: '1' }, '/size', 'integer'],
    [{ ...create, size: 1.5 }, '/size', 'integer'],
    [{ ...create, size: 8192 }, '/size', '1048576'],
    [{ size: 1_048_576 }, '/name', 'required'],
    [{ ...create, name: '' }, '/name', ''],
    [{ ...create, name: 'a\nb' }, '/name', ''],
    [{ ...create, name: 'half \ud83d' }, '/name', ''],
    [{ ...create, name: 'x'.repeat(129) }, '/name', '128'],
    [{ ...create, app_type: 'Games' }, '/app_type', 'Boot_Volume_Other'],
    [[create], '/', ''],
    ['"text"', '/', ''],
    ['7', '/', ''],
    ['{"name":', '/', 'JSON'],
    ['', '/', 'body'],
  ])('400 for %j, naming the place', async (body, place, word) => {
    const answer = await rest.send('POST', 'volume', body);
    expect(answer.statusCode).toBe(400);
    const message = refusal(answer.body);
    expect(message?.code).toBe('0xE04040030001');
    expect(message?.message_l10n).toContain(`at ${place}`);
    expect(message?.message_l10n).toContain(word);
    expect(rest.calls).toEqual([]);
  });

  it('__proto__ is an unknown property like any other', async () => {
    const answer = await rest.send('POST', 'volume', '{"name":"x","size":1048576,"__proto__":{"polluted":true}}');
    expect(answer.statusCode).toBe(400);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it('415 for what is not JSON, 413 for what is too large, both with error_response', async () => {
    const xml = await rest.send('POST', 'volume', '<volume/>', { 'content-type': 'application/xml' });
    expect([xml.statusCode, refusal(xml.body)?.severity]).toEqual([415, 'Error']);
    const bare = await rest.app.inject({
      method: 'POST',
      url: '/api/rest/volume',
      headers: { ...admin, 'content-type': '' },
      payload: 'name=x',
    });
    expect(bare.statusCode).toBe(415);
    // gopowerstore names no type at all, and sends lists that it was not given as null.
    const silent = await rest.app.inject({
      method: 'POST',
      url: '/api/rest/policy',
      headers: admin,
      payload: Buffer.from('{"name":"p","snapshot_rule_ids":null,"replication_rule_ids":["r"],"force_internal":false}'),
    });
    expect(silent.statusCode).toBe(201);
    expect(rest.calls.at(-1)?.body).toEqual({ name: 'p', replication_rule_ids: ['r'] });
    const large = await rest.send('POST', 'volume', { name: 'x'.repeat(2 ** 20) });
    expect([large.statusCode, refusal(large.body)?.severity]).toEqual([413, 'Error']);
    const unknown = await rest.app.inject({ method: 'POST', url: '/api/rest/volume', payload: '{}'.repeat(2 ** 20) });
    expect([401, 413]).toContain(unknown.statusCode);
  });
});

describe('paths', () => {
  it('names serve as ids, in paths and in bodies; volumes go before snapshots', async () => {
    expect((await rest.get('volume/name:data')).json()).toEqual({ id: 'v1' });
    await rest.send('POST', 'volume', { ...create, protection_policy_id: 'name:gold' });
    await rest.send('DELETE', 'volume/name%3Adata');
    expect(rest.calls).toMatchObject([
      { body: { protection_policy_id: 'p1' } },
      { operation: 'volume.delete', id: 'v1' },
    ]);
    const gone = await rest.get('volume/name:gone');
    expect([gone.statusCode, refusal(gone.body)?.code]).toEqual([404, '0xE0A08001000E']);
    const rule = await rest.send('POST', 'volume', { ...create, protection_policy_id: 'name:silver' });
    expect([rule.statusCode, refusal(rule.body)?.code]).toEqual([404, '0xE0A090010001']);
    expect((await rest.get('replication_session/name:s1')).statusCode).toBe(404);
  });

  it.each([
    ['volume/gone', '0xE0A08001000E'],
    ['policy/gone', '0xE0A090010001'],
    ['snapshot_rule/gone', '0xE0203001000B'],
    ['job/gone', '0xE04040020009'],
    ['replication_session/gone', '0xE04040020009'],
  ])('404 for %s with %s', async (url, code) => {
    const answer = await rest.get(url);
    expect([answer.statusCode, refusal(answer.body)?.code]).toEqual([404, code]);
    expect(refusal(answer.body)?.arguments).toContain('gone');
  });

  it('what this system does not do is 404 with error_response, saying so', async () => {
    for (const url of ['recycle_bin', 'volume/v1/paint', 'nothing/at/all']) {
      for (const method of ['GET', 'POST', 'DELETE'] as const) {
        const answer = await rest.app.inject({ method, url: `/api/rest/${url}`, headers: admin });
        expect(answer.statusCode).toBe(404);
        expect(refusal(answer.body)?.message_l10n).toContain('not supported by this system');
      }
    }
  });

  it('collections that there is nothing of are empty, not unknown', async () => {
    const mappings = await rest.get('host_volume_mapping?volume_id=eq.v1&select=id,host(name)');
    expect([mappings.statusCode, mappings.body]).toEqual([200, '[]']);
    const port = await rest.get('fc_port/p1?select=*');
    expect([port.statusCode, refusal(port.body)?.code]).toEqual([404, '0xE04040020009']);
    const made = await rest.send('POST', 'ldap_domain', { name: 'g' });
    expect([made.statusCode, refusal(made.body)?.code]).toEqual([422, '0xE0C010010021']);
    expect((await rest.app.inject({ method: 'GET', url: '/api/rest/host' })).statusCode).toBe(401);
  });

  it('405 for what a resource does not do', async () => {
    for (const [method, url] of [
      ['POST', 'replication_session'],
      ['DELETE', 'replication_session/s1'],
      ['PATCH', 'volume'],
      ['DELETE', 'volume'],
      ['PUT', 'volume/v1'],
      ['POST', 'volume/v1'],
      ['POST', 'job'],
    ] as const) {
      const answer = await rest.send(method, url);
      expect([method, url, answer.statusCode]).toEqual([method, url, 405]);
      expect(refusal(answer.body)?.severity).toBe('Error');
    }
  });

  it('406 for callers that take no JSON; what PowerStore’s clients send is fine', async () => {
    const answer = await rest.get('volume', { accept: 'text/html' });
    expect([answer.statusCode, refusal(answer.body)?.severity]).toEqual([406, 'Error']);
    const usual = await rest.get('volume', {
      accept: 'application/json',
      'accept-language': 'en-US',
      'application-type': 'Ansible/3.0',
      'dell-visibility': 'Internal',
      'content-type': 'application/json',
    });
    expect(usual.statusCode).toBe(200);
  });

  it('the interface describes itself', async () => {
    for (const url of ['/api/rest/openapi.json', '/api/rest/openapi']) {
      const answer = await rest.app.inject({ method: 'GET', url });
      expect(answer.json()).toMatchObject({ openapi: '3.1.0', info: { version: '4.1.0.0' } });
    }
  });
});
