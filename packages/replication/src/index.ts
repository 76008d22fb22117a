export * from './transfer/types.ts';
