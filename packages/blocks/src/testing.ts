export { describeEngineContract, type EngineUnderTest, readAll, shipCycle } from './contract/engine-contract.ts';
export { smallLogLimits } from './embedded/log/small-limits.ts';
export { type EngineParts, openEngineOn } from './embedded/open-engine.ts';
export { ManualClock } from './embedded/simulated/manual-clock.ts';
export { type FaultRates, seededDiskFaults } from './embedded/simulated/seeded-faults.ts';
export { seededRandom } from './embedded/simulated/seeded-random.ts';
export { SimulatedCheckpointStore } from './embedded/simulated/simulated-checkpoint-store.ts';
export { type DiskFaults, diskError, SimulatedDisk } from './embedded/simulated/simulated-disk.ts';
