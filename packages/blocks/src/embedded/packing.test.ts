import { volumeId } from '@antipode/base';
import { afterEach, describe, expect, it } from 'vitest';
import { bytesOf, type CrashingEngine, imageOf } from '../contract/crash-contract.ts';
import { type SimulatedEngine, simulatedEngine } from '../contract/simulated-engine.ts';
import { BLOCK_BYTES } from '../port/device.ts';
import type { EmbeddedEngine } from './embedded-engine.ts';

const MiB = 1024 * 1024;
const a = volumeId('a');
/** Tokens of bytes that can be packed well, and not at all. */
const [alike, noise] = [3, 1];

describe('packing what is cold', () => {
  let under: SimulatedEngine | undefined;
  const start = async (size = 8 * MiB): Promise<SimulatedEngine> => {
    under = await simulatedEngine(1, { fallBack_max: 0 });
    await under.engine.createVolume({ id: a, name: 'a', size, tag: {} });
    return under;
  };
  const next = async (how: 'reopen' | 'crash') => {
    under = (await under![how]()) as SimulatedEngine;
    return under;
  };
  const write = (engine: CrashingEngine['engine'], block: number, token: number, count: number) =>
    engine.open(a).write(block * BLOCK_BYTES, bytesOf(token, count), false);
  const accounts = () => (under!.engine as EmbeddedEngine).accountErrors();
  afterEach(() => under?.dispose());

  it('makes data smaller that can be, keeps what cannot, and counts both to the byte', async () => {
    const { engine } = await start();
    for (let block = 0; block < 1024; block += 64) await write(engine, block, block < 512 ? alike : noise, 64);
    const again = await next('reopen');
    await again.settle?.();
    const { live_bytes, data_bytes, log_bytes } = again.engine.usage();
    expect(data_bytes).toBe(1024 * BLOCK_BYTES);
    expect(live_bytes).toBeLessThan(0.6 * data_bytes);
    expect(log_bytes).toBeLessThan(0.65 * data_bytes);
    expect(accounts()).toEqual([]);
    const image = await imageOf(again.engine.open(a));
    expect([...image.subarray(0, 1024)]).toEqual(Array.from({ length: 1024 }, (_, n) => (n < 512 ? alike : noise)));
    const crashed = await next('crash');
    expect(crashed.engine.usage()).toMatchObject({ live_bytes, data_bytes });
    expect(accounts()).toEqual([]);
  });
});
