export { compose, type DeviceDecorator, type DeviceRequest, type Operation } from './decorator.ts';
export { type DelayOptions, delay } from './delay.ts';
export { type Fault, type FaultPlan, fault, type ScriptedFault, scriptedFaults, seededFaults } from './fault.ts';
export { IoLimiter } from './io-limiter.ts';
export { type LatencySnapshot, quantile_us } from './latency-histogram.ts';
export { readOnly } from './read-only.ts';
export { type DeviceStatistics, type OperationStatistics, StatisticsCollector } from './statistics.ts';
export { type IoCost, type IoRate, TokenBuckets } from './token-buckets.ts';
