export * from './port/device.ts';
export * from './port/engine.ts';
export * from './port/errors.ts';
export * from './port/types.ts';
