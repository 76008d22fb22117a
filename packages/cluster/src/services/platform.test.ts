import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalog } from '../catalog/catalog.ts';
import type { RequestContext } from '../rest/handlers.ts';
import { builtInSoftware } from '../software/version.ts';
import { enterPlatform, platformHandlers } from './platform.ts';
import { enterMachine } from './platform-network.ts';

let directory: string;
let catalog: Catalog;
const enter = () => {
  enterPlatform(catalog, {
    serial: 'PS0123456789ab',
    name: 'first',
    managementAddress: '192.0.2.1:443',
    appliances: ['A1'],
    now_ms: 0,
    software: builtInSoftware,
  });
  enterMachine(catalog, { appliances: ['A1'], serial: 'PS0123456789ab', interfaces: {}, nameServers: [], reached: [] });
};
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'platform-'));
  catalog = new Catalog(directory);
  enter();
});
afterEach(() => {
  catalog.close();
  rmSync(directory, { recursive: true, force: true });
});

const ask = (operation: string, id: string, body: unknown) =>
  platformHandlers(catalog, () => 0)[operation]!({} as RequestContext, id, body);

describe('the cluster', () => {
  it('takes another name and keeps it when it starts again; what the machine decides can be said again and not changed', async () => {
    await ask('cluster.modify', '0', { name: 'second', physical_mtu: 1500 });
    enter();
    expect(catalog.get('cluster', '0')?.name).toBe('second');
    await expect(ask('cluster.modify', '0', { name: 'third', physical_mtu: 9000 })).rejects.toThrow(
      'physical_mtu is 1500',
    );
    expect(catalog.get('cluster', '0')?.name).toBe('second');
    await ask('chap_config.modify', '0', { mode: 'Disabled' });
    await expect(ask('chap_config.modify', '0', { mode: 'Single' })).rejects.toThrow('mode is Disabled');
  });
});
