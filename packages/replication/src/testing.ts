export * from './session/two-halves.ts';
