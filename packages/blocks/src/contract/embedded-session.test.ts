import { describeSessionContract } from './session-contract.ts';
import { simulatedEngine } from './simulated-engine.ts';

describeSessionContract('embedded, on disks that lose what was not synced', (seed) =>
  simulatedEngine(seed, { fallBack_max: 0 }),
);
describeSessionContract('embedded, whose checkpoints may fall back to earlier ones [C10.1]', (seed) =>
  simulatedEngine(seed, { fallBack_max: 2 }),
);
