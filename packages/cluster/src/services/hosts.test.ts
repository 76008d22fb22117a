import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HostDocument, InitiatorPrivate } from '../catalog/documents.ts';
import { type ServiceFixture, serviceFixture } from './testing/service-fixture.ts';

const MiB = 1_048_576;
let site: ServiceFixture;
beforeEach(async () => {
  site = await serviceFixture();
});
afterEach(() => site.close());

const iqn = (name: string) => `iqn.2026-01.org.example:${name}`;
const port = (name: string, more: object = {}) => ({ port_name: iqn(name), port_type: 'iSCSI', ...more });
const host = (name: string, more: object = {}) =>
  site.made('host.create', '', { name, os_type: 'Linux', initiators: [port(name)], ...more });
const group = (name: string, ...host_ids: string[]) => site.made('host_group.create', '', { name, host_ids });
const volume = (name: string, more: object = {}) => site.made('volume.create', '', { name, size: MiB, ...more });
const mappings = () =>
  site.catalog
    .list('host_volume_mapping')
    .map((row) => [row.host_id ?? row.host_group_id, row.volume_id, row.logical_unit_number]);
const shown = (id: string): HostDocument => {
  const found = site.catalog.get('host', id);
  if (found === undefined) throw new Error(`no host ${id}`);
  return found;
};

describe('hosts', () => {
  it('are known by their initiators, shown as rows of their own and within the host; secrets are in neither', async () => {
    const secret = 'twelve signs!';
    const id = await host('a', {
      initiators: [port('a', { chap_single_username: 'u', chap_single_password: secret })],
    });
    expect(shown(id)).toMatchObject({
      name: 'a',
      type: 'External',
      host_connectivity: 'Local_Only',
      host_initiators: [{ port_name: iqn('a'), port_type: 'iSCSI', chap_single_username: 'u' }],
    });
    const [row] = site.catalog.list('initiator');
    expect(row).toMatchObject({ host_id: id, port_name: iqn('a') });
    expect(JSON.stringify([shown(id), row])).not.toContain(secret);
    await site.ask('host.modify', id, { modify_initiators: [{ port_name: iqn('a'), chap_single_username: 'v' }] });
    expect(site.catalog.private<InitiatorPrivate>('initiator', row!.id)).toEqual({ chap_single_password: secret });
    expect(shown(id).host_initiators[0]?.chap_single_username).toBe('v');
  });

  it.each([
    ['an FC name without colons', { port_name: '21000024ff3deadb', port_type: 'FC' }, 'no name of an initiator'],
    ['an iSCSI name that is none', { port_name: 'host', port_type: 'iSCSI' }, 'no name of an initiator'],
    [
      'a name that another host has, however written',
      { port_name: iqn('A').toUpperCase(), port_type: 'iSCSI' },
      'belongs to host a',
    ],
  ])('are refused with %s', async (_, initiator, message) => {
    await host('a');
    expect(await site.refusal('host.create', '', { name: 'b', os_type: 'Linux', initiators: [initiator] })).toContain(
      message,
    );
    expect(site.catalog.count('host')).toBe(1);
    expect(site.catalog.count('initiator')).toBe(1);
  });

  it('have one name each and initiators of one type', async () => {
    const id = await host('a');
    const fc = { port_name: '21:00:00:24:ff:3d:ea:db', port_type: 'FC' };
    expect(await site.refusal('host.create', '', { name: 'a', os_type: 'Linux', initiators: [fc] })).toContain(
      'a is in use',
    );
    expect(site.catalog.count('initiator')).toBe(1);
    expect(await site.refusal('host.modify', id, { add_initiators: [fc] })).toContain('one type');
    const both = { add_initiators: [port('b')], remove_initiators: [iqn('a')] };
    expect(await site.refusal('host.modify', id, both)).toContain('not changed together');
    expect(await site.refusal('host.modify', id, { remove_initiators: [iqn('z')] })).toContain('does not belong');
  });

  it('that reach a volume keep an initiator, and are not deleted', async () => {
    const id = await host('a');
    await site.ask('host.attach', id, { volume_id: await volume('v') });
    expect(await site.refusal('host.modify', id, { remove_initiators: [iqn('a')] })).toContain('no initiator left');
    expect(await site.refusal('host.delete', id)).toContain('attached to 1 volume');
    await site.ask('host.detach', id, { volume_id: site.catalog.list('volume')[0]!.id });
    await site.ask('host.delete', id);
    expect(site.catalog.count('initiator')).toBe(0);
  });
});

describe('host groups', () => {
  it('take hosts that are in none, reach nothing by themselves, and are alike', async () => {
    const [a, b, c] = [await host('a'), await host('b'), await host('c', { host_connectivity: 'Metro_Optimize_Both' })];
    const id = await group('g', a);
    expect(shown(a).host_group_id).toBe(id);
    expect(await site.refusal('host_group.create', '', { name: 'h', host_ids: [a] })).toContain('in a group already');
    expect(await site.refusal('host_group.create', '', { name: 'g', host_ids: [b] })).toContain('g is in use');
    expect(await site.refusal('host_group.modify', id, { add_host_ids: [c] })).toContain('connectivity');
    await site.ask('host.attach', b, { volume_id: await volume('v') });
    expect(await site.refusal('host_group.modify', id, { add_host_ids: [b] })).toContain('attached to 1 volume');
    expect(await site.refusal('host_group.modify', id, { name: 'x', add_host_ids: [b] })).toContain('together');
    expect(await site.refusal('host.delete', a)).toContain('in host group g');
    await site.ask('host_group.modify', id, { host_connectivity: 'Metro_Optimize_Local' });
    expect(shown(a).host_connectivity).toBe('Metro_Optimize_Local');
  });

  it('reach volumes together; one that does keeps a host and is not deleted', async () => {
    const [a, v] = [await host('a'), await volume('v')];
    const id = await group('g', a);
    expect(await site.refusal('host.attach', a, { volume_id: v })).toContain('in host group g');
    await site.ask('volume.attach', v, { host_group_id: id });
    expect(mappings()).toEqual([[id, v, 200]]);
    expect(await site.refusal('host_group.modify', id, { remove_host_ids: [a] })).toContain('no host left');
    expect(await site.refusal('host_group.delete', id)).toContain('attached to 1 volume');
    await site.ask('host_group.detach', id, { volume_id: v });
    await site.ask('host_group.delete', id);
    expect(shown(a).host_group_id).toBeNull();
  });
});

describe('attaching', () => {
  it('numbers volumes upwards and does not give a number again, but to whom asks for it', async () => {
    const [a, v, w, x] = [await host('a'), await volume('v'), await volume('w'), await volume('x')];
    await site.ask('volume.attach', v, { host_id: a });
    await site.ask('host.attach', a, { volume_id: w });
    expect(mappings().map(([, , lun]) => lun)).toEqual([200, 201]);
    await site.ask('volume.detach', w, { host_id: a });
    await site.ask('volume.attach', x, { host_id: a });
    expect(mappings().at(-1)).toEqual([a, x, 202]);
    await site.ask('volume.attach', w, { host_id: a, logical_unit_number: 201 });
    expect(mappings().at(-1)).toEqual([a, w, 201]);
    await site.restart();
    await site.ask('volume.detach', x, { host_id: a });
    await site.ask('volume.attach', x, { host_id: a });
    expect(mappings().at(-1)).toEqual([a, x, 203]);
    expect(site.volume(v).node_affinity).toBe('System_Selected_Node_A');
  });

  it('is refused precisely', async () => {
    const [a, v, w] = [await host('a'), await volume('v'), await volume('w')];
    const g = await group('g', await host('b'));
    const snapshot = await site.made('volume.snapshot', v, { name: 's' });
    await site.ask('volume.attach', v, { host_id: a, logical_unit_number: 0 });
    expect(await site.refusal('volume.attach', v, { host_id: a })).toContain('attached to a already');
    expect(await site.refusal('volume.attach', w, { host_id: a, logical_unit_number: 0 })).toContain(
      '0 is in use at a',
    );
    expect(await site.refusal('volume.attach', v, { host_id: a, host_group_id: g })).toContain('not both');
    expect(await site.refusal('volume.attach', v, {})).toContain('one of them');
    expect(await site.refusal('volume.attach', snapshot, { host_id: a })).toContain('clone');
    expect(await site.refusal('volume.attach', v, { host_id: 'h' })).toContain('no host');
    expect(await site.refusal('volume.detach', w, { host_id: a })).toContain('not attached to a');
    expect(await site.refusal('host.detach', a, { volume_id: w })).toContain('not attached to volume w');
    expect(mappings()).toEqual([[a, v, 0]]);
  });

  it('keeps a volume from being deleted, and goes with a volume that is made for a host', async () => {
    const a = await host('a');
    const v = await volume('v', { host_id: a, logical_unit_number: 7 });
    expect(mappings()).toEqual([[a, v, 7]]);
    expect(await site.refusal('volume.delete', v)).toContain('attached to a');
    expect(
      await site.refusal('volume.create', '', { name: 'w', size: MiB, host_id: a, logical_unit_number: 7 }),
    ).toContain('7 is in use');
    expect(site.catalog.list('volume').map(({ name }) => name)).toEqual(['v']);
    const clone = await site.made('volume.clone', v, { name: 'c', host_id: a });
    expect(mappings().at(-1)).toEqual([a, clone, 200]);
    await site.ask('volume.detach', v, { host_id: a });
    await site.ask('volume.delete', v);
  });

  it('[C11.1] is all that the data plane is told: hosts by the names of their certificates, and their volumes', async () => {
    const nbd = { port_name: 'iqn.2026-11.antipode.nbd:DB1.example.org', port_type: 'iSCSI' };
    const [a, b] = [await host('a', { initiators: [port('A'), nbd] }), await host('b')];
    const [v, w] = [await volume('v'), await volume('w')];
    expect(site.access).toEqual([]);
    await site.ask('volume.attach', v, { host_id: a });
    expect(site.access).toEqual([
      { names: [iqn('a'), 'iqn.2026-11.antipode.nbd:db1.example.org', 'db1.example.org'], volumes: [v] },
    ]);
    const g = await group('g', b);
    await site.ask('host_group.attach', g, { volume_id: w });
    expect(site.access.at(-1)).toEqual({ names: [iqn('b')], volumes: [w] });
    await site.ask('host.modify', a, { remove_initiators: [nbd.port_name] });
    expect(site.access[0]?.names).toEqual([iqn('a')]);
    await site.ask('host.detach', a, { volume_id: v });
    expect(site.access).toEqual([{ names: [iqn('b')], volumes: [w] }]);
    await site.ask('host_group.detach', g, { volume_id: w });
    expect(site.access).toEqual([]);
  });

  it('works while the data plane is away', async () => {
    const [a, v] = [await host('a'), await volume('v')];
    const { DataPlaneAway } = await import('../local/client.ts');
    site.failAt('setAccess', new DataPlaneAway('restarting'));
    await site.ask('volume.attach', v, { host_id: a });
    await site.ask('volume.detach', v, { host_id: a });
    site.failAt('setAccess', undefined);
    await site.ask('volume.attach', v, { host_id: a });
    expect(site.access).toHaveLength(1);
  });
});
