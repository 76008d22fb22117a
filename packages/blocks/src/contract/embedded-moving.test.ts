import { describeMovingContract } from './moving-contract.ts';
import { simulatedEngine } from './simulated-engine.ts';

describeMovingContract('embedded, on disks that lose what was not synced', (seed) =>
  simulatedEngine(seed, { fallBack_max: 0 }),
);
describeMovingContract('embedded, whose checkpoints may fall back to earlier ones [C10.1]', (seed) =>
  simulatedEngine(seed, { fallBack_max: 2 }),
);
