export * from './assert.ts';
export * from './brand.ts';
export * from './fault-points.ts';
export * from './paced-clock.ts';
export * from './ports.ts';
export * from './result.ts';
export * from './system-ports.ts';
