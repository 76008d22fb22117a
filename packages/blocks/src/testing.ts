export { smallLogLimits } from './embedded/log/small-limits.ts';
