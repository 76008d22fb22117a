export type { Report, Violation } from './report.ts';
export { type Setting, simulate } from './simulate.ts';
