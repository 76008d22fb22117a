export { compose, type DeviceDecorator, type DeviceRequest, type Operation } from './decorator.ts';
export { type DelayOptions, delay } from './delay.ts';
export { type Fault, type FaultPlan, fault, type ScriptedFault, scriptedFaults, seededFaults } from './fault.ts';
export { type LatencySnapshot, quantile_us } from './latency-histogram.ts';
export { type RateLimitOptions, rateLimit } from './rate-limit.ts';
export { readOnly } from './read-only.ts';
export { type DeviceStatistics, type OperationStatistics, StatisticsCollector } from './statistics.ts';
