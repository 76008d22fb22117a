import { describeCrashContract } from './crash-contract.ts';
import { simulatedEngine } from './simulated-engine.ts';

describeCrashContract('embedded, on a disk that loses what was not synced', (seed) =>
  simulatedEngine(seed, { fallBack_max: 0 }),
);
describeCrashContract('embedded, whose checkpoint may fall back to an earlier one [C10.1]', (seed) =>
  simulatedEngine(seed, { fallBack_max: 2 }),
);
