import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RestFixture, restFixture, volume } from './testing/rest-fixture.ts';

let rest: RestFixture;

beforeAll(async () => {
  rest = await restFixture();
  const { catalog } = rest;
  catalog.put('volume', volume(1, { name: 'Beta', protection_policy_id: 'p1', description: 'first' }));
  catalog.put('volume', volume(2, { name: 'alpha', app_type: 'Other', state: 'Offline' }));
  catalog.put('volume', volume(3, { name: 'gamma*[x]', protection_policy_id: 'p1', is_replication_destination: true }));
  const parent = { ...volume(1).protection_data, parent_id: 'v1', source_id: 'v1', is_secure: true };
  catalog.put('volume', volume(4, { name: 'Beta', type: 'Snapshot', protection_data: parent }));
  catalog.put('appliance', { id: 'A1', name: 'Home', mode: 'Block' });
  catalog.put('node', { id: 'N1', slot: 0, appliance_id: 'A1' });
  const managed = { managed_by: 'User', managed_by_id: null, is_read_only: false, is_replica: false } as const;
  const rule = { ...managed, rpo: 'One_Hour', remote_system_id: 'R1', alert_threshold: 60 } as const;
  catalog.put('replication_rule', { ...rule, id: 'rr1', name: 'hourly' });
  catalog.put('policy', {
    ...managed,
    id: 'p1',
    name: 'gold',
    description: null,
    type: 'Protection',
    snapshot_rule_ids: [],
    replication_rule_ids: ['rr1'],
  });
  catalog.put('remote_system', {
    id: 'R1',
    name: 'north',
    description: null,
    serial_number: 'PS1',
    version: '4.1.0.0',
    management_address: '192.0.2.1',
    type: 'PowerStore',
    state: 'OK',
    data_connection_type: 'TCP',
    data_connection_state: 'OK',
    data_network_latency: 'Low',
    iscsi_addresses: [],
    discovery_chap_mode: 'Disabled',
    session_chap_mode: 'Disabled',
    data_connections: [],
    capabilities: ['Asynchronous_Block_Replication', 'Block_Metro_Active_Active'],
    user_name: '',
  });
});
afterAll(() => rest.close());

/** Ids that a query finds. */
const ids = async (query: string, resource = 'volume'): Promise<string[]> => {
  const answer = await rest.get(`${resource}?${query}`);
  expect(answer.statusCode, answer.body).toBe(200);
  return answer.json<{ id: string }[]>().map(({ id }) => id);
};

describe('filters', () => {
  it.each([
    ['name=eq.beta', ['v1', 'v4']],
    ['name=eq.Beta&type=neq.Snapshot', ['v1']],
    ['name=not.eq.beta', ['v2', 'v3']],
    ['type=in.(Primary,Clone)', ['v1', 'v2', 'v3']],
    ['type=not.in.(Primary,Clone)', ['v4']],
    ['id=in.(v1,"v3")', ['v1', 'v3']],
    ['size=gt.2097152', ['v3', 'v4']],
    ['size=gte.2097152&size=lt.4194304', ['v2', 'v3']],
    ['size=lte.1048576', ['v1']],
    ['nsid=eq.2', ['v2']],
    ['is_replication_destination=eq.True', ['v3']],
    ['is_replication_destination=eq.false', ['v1', 'v2', 'v4']],
    ['is_replication_destination=is.true', ['v3']],
    ['description=is.null', ['v2', 'v3', 'v4']],
    ['description=not.is.null', ['v1']],
    ['name=like.Be*', ['v1', 'v4']],
    ['name=like.be*', []],
    ['name=ilike.*BET*', ['v1', 'v4']],
    ['name=ilike.*a', ['v1', 'v2', 'v4']],
    ['name=like.gamma*', ['v3']],
    ['name=ilike.*[x]', ['v3']],
    ['name=ilike.*[a-z]', []],
    ['creation_timestamp=gt.2026-01-01T00:00:02Z', ['v3', 'v4']],
    ['creation_timestamp=lte.2026-01-01T01:00:02%2B01:00', ['v1', 'v2']],
    ['protection_data->>source_id=eq.v1', ['v4']],
    ['protection_data-%3E%3Eparent_id=is.null', ['v1', 'v2', 'v3']],
    ['and=(size.gt.1048576,size.lt.4194304)', ['v2', 'v3']],
    ['or=(name.eq.alpha,size.gt.3145728)', ['v2', 'v4']],
    ['or=(and(name.eq.beta,type.eq.Primary),id.eq.v3)', ['v1', 'v3']],
    ['state=eq.offline', ['v2']],
  ])('%s', async (query, expected) => {
    expect(await ids(`${query}&order=id`)).toEqual(expected);
  });

  it('compares lists by what they contain', async () => {
    expect(await ids('capabilities=cs.{Block_Metro_Active_Active}', 'remote_system')).toEqual(['R1']);
    expect(await ids('capabilities=cs.{Block_Metro_Active_Active,File_Import}', 'remote_system')).toEqual([]);
    const both = '{"Asynchronous_Block_Replication","Block_Metro_Active_Active","File_Import"}';
    expect(await ids(`capabilities=cd.${encodeURIComponent(both)}`, 'remote_system')).toEqual(['R1']);
    expect(await ids('capabilities=cd.{File_Import}', 'remote_system')).toEqual([]);
  });

  it.each([
    ['nothing=eq.1', 'nothing'],
    ['constructor=eq.1', 'constructor'],
    ['size=eq.large', 'size'],
    ['state=eq.Broken', 'Offline'],
    ['size=is.true', 'size'],
    ['size=like.1*', 'text'],
    ['size=between.1', 'eq, neq'],
    ['is_replication_destination=eq.maybe', 'true or false'],
    ['creation_timestamp=gt.yesterday', '2026-01-31T12:00:00Z'],
    ['select=id,nothing', 'nothing'],
    ['select=appliance(nothing)', 'nothing'],
    ['select=id(name)', 'id'],
    ['select=appliance(id', 'brackets'],
    ['select=', 'empty'],
    ['order=nothing', 'nothing'],
    ['order=name.up', 'name.up'],
    ['and=name.eq.x', 'brackets'],
    ['or=(name)', 'attribute.operator.value'],
    ['capabilities=eq.x', 'capabilities'],
  ])('%s is refused, naming what is wrong', async (query, word) => {
    const answer = await rest.get(`volume?${query}`);
    expect(answer.statusCode).toBe(400);
    const [message] = answer.json<{ messages: { code: string; severity: string; message_l10n: string }[] }>().messages;
    expect(message).toMatchObject({ code: '0xE04040010005', severity: 'Error' });
    expect(message?.message_l10n).toContain(word);
  });
});

describe('select', () => {
  it('answers only ids when nothing is selected', async () => {
    expect((await rest.get('volume?id=eq.v1')).json()).toEqual([{ id: 'v1' }]);
    expect((await rest.get('volume/v1')).json()).toEqual({ id: 'v1' });
  });

  it('answers all own attributes and their words for *, no associations', async () => {
    const row = (await rest.get('volume/v2?select=*')).json<Record<string, unknown>>();
    expect(row).toMatchObject({ name: 'alpha', state: 'Offline', app_type_l10n: 'Other', logical_used: null });
    expect(row.node_affinity_l10n).toBe('System Select At Attach');
    expect(row.app_type).toBe('Other');
    expect(row).not.toHaveProperty('appliance');
    expect((await rest.get('volume/v1?select=app_type,app_type_l10n')).json()).toEqual({
      app_type: null,
      app_type_l10n: null,
    });
  });

  it('expands associations, nested and with blanks, and answers ids for a bare one', async () => {
    const row = await rest.get(
      'volume/v1?select=name, protection_policy( name,replication_rules(name, rpo)),appliance',
    );
    expect(row.json()).toEqual({
      name: 'Beta',
      protection_policy: { name: 'gold', replication_rules: [{ name: 'hourly', rpo: 'One_Hour' }] },
      appliance: { id: 'A1' },
    });
    const none = await rest.get('volume/v2?select=protection_policy(name),replication_sessions');
    expect(none.json()).toEqual({ protection_policy: null, replication_sessions: [] });
    const rule = await rest.get(
      'replication_rule/rr1?select=policies(id,name),remote_system(id,name),replication_sessions(id,state)',
    );
    expect(rule.json()).toEqual({
      policies: [{ id: 'p1', name: 'gold' }],
      remote_system: { id: 'R1', name: 'north' },
      replication_sessions: [],
    });
    const without = await rest.get(
      'volume/v1?select=mapped_volumes(id,logical_unit_number),volume_groups,migration_session(id)',
    );
    expect(without.json()).toEqual({ mapped_volumes: [], volume_groups: [], migration_session: null });
    const policy = await rest.get('policy/p1?select=volumes(id,name)');
    expect(policy.json()).toEqual({
      volumes: [
        { id: 'v1', name: 'Beta' },
        { id: 'v3', name: 'gamma*[x]' },
      ],
    });
  });
});

describe('order and pages', () => {
  it('orders names without regard to case, and by several attributes', async () => {
    expect(await ids('order=name')).toEqual(['v2', 'v1', 'v4', 'v3']);
    expect(await ids('order=name.desc,id.desc')).toEqual(['v3', 'v4', 'v1', 'v2']);
    expect(await ids('order=size.desc')).toEqual(['v4', 'v3', 'v2', 'v1']);
  });

  it('answers a page with 206 and says which', async () => {
    const page = await rest.get('volume?limit=2&offset=1&order=id');
    expect(page.statusCode).toBe(206);
    expect(page.headers['content-range']).toBe('1-2/4');
    expect(page.json()).toEqual([{ id: 'v2' }, { id: 'v3' }]);
    const range = await rest.get('volume?order=id', { range: '2-9' });
    expect([range.statusCode, range.headers['content-range']]).toEqual([206, '2-3/4']);
    const all = await rest.get('volume?order=id', { range: '0-99' });
    expect(all.statusCode).toBe(200);
    expect((await rest.get('volume?limit=99999')).statusCode).toBe(200);
  });

  it.each(['limit=0', 'limit=-1', 'limit=many', 'offset=-1', 'offset=4', 'offset=1e3'])('416 for %s', async (query) => {
    const answer = await rest.get(`volume?${query}`);
    expect(answer.statusCode).toBe(416);
    expect(answer.json<{ messages: unknown[] }>().messages).toHaveLength(1);
  });

  it.each(['9-2', 'bytes=0-1', '-5', 'x', '4-5'])('416 for Range %s', async (range) => {
    expect((await rest.get('volume', { range })).statusCode).toBe(416);
  });

  it('an empty collection is no error', async () => {
    const answer = await rest.get('event?offset=0', { range: '0-99' });
    expect([answer.statusCode, answer.body]).toEqual([200, '[]']);
  });

  it('simple collections ignore filters, order and pages', async () => {
    const answer = await rest.get('x509_certificate?limit=0&nothing=eq.1&order=nothing', { range: 'x' });
    expect([answer.statusCode, answer.body]).toEqual([200, '[]']);
  });
});
