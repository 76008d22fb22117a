import type { EngineCore } from '../core.ts';
import { pageBlocks } from '../index/page.ts';

/**
 * Compares what the engine counts with what the index says: live bytes of each segment, and data and holes of each layer. A segment
 * counted as empty that is not would be given back with bytes that are needed. Looks at every page there is.
 */
export function accountErrors(core: EngineCore): readonly string[] {
  const errors: string[] = [];
  const live = new Map<number, number>();
  for (const layer of core.pages.layers()) {
    let data = 0;
    let holes = 0;
    let stored = 0;
    for (const number of layer.present.within(0, Number.MAX_SAFE_INTEGER)) {
      const page = core.pages.get(layer, number);
      if (page === undefined) {
        errors.push(`page ${number} of layer ${layer.id} is not there`);
        continue;
      }
      for (let index = 0; index < pageBlocks; index++) {
        if (page.isHole(index)) holes += 1;
        if (!page.isData(index)) continue;
        data += 1;
        stored += page.bytesOf(index);
        live.set(page.segment[index]!, (live.get(page.segment[index]!) ?? 0) + page.bytesOf(index));
      }
    }
    if (data !== layer.data || holes !== layer.holes)
      errors.push(`layer ${layer.id} has ${data} blocks and ${holes} holes, not ${layer.data} and ${layer.holes}`);
    if (stored !== layer.stored_bytes)
      errors.push(`layer ${layer.id} takes ${stored} bytes of the log, not ${layer.stored_bytes}`);
  }
  for (const segment of new Set([...live.keys(), ...core.live.encode().map(([number]) => number)])) {
    const counted = core.live.of(segment);
    const found = live.get(segment) ?? 0;
    if (counted !== found) errors.push(`segment ${segment} has ${found} live bytes, not ${counted}`);
  }
  return errors;
}
