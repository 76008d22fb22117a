import { parseArgs } from 'node:util';

/** What `npm run simulate` is asked to do. */
export interface Settings {
  readonly first: number;
  readonly seeds: number;
  readonly hours: number;
  readonly calm: number;
  readonly without: readonly string[];
  /** Lines of the trace that are shown before a violation. */
  readonly trace: number;
  readonly minimise: boolean;
  /** No seed begins after so many; 0: all seeds run. */
  readonly minutes: number;
}

/** What was written cannot be done: the message names the option and what is allowed. */
export class UsageError extends Error {}

export const help = `Usage: npm run simulate -- [options]

Runs whole clusters on a simulated clock, network and disk, breaks what can break, and looks whether the promises hold.
Exit code: 0 when all held, 1 when one did not, 2 for a wrong option.

  --seed N          the first seed: one seed is one history, to the last message (default 1)
  --seeds N         how many seeds, one after the other (default 1)
  --hours H         simulated hours of each (default 48)
  --calm TIMES      calm hours for each rough one, in which twice so many times less goes wrong (default 1: rough hours alone)
  --minutes M       no seed begins after so many minutes (default 0: no bound)
  --night           eight hours of seeds that no night before has had, 192 hours each, --calm 8
  --trace LINES     what came before a violation (default 0)
  --minimise        leaves out one kind of fault or command after another and says which the violation needs
  --without KIND,…  leaves these kinds out
`;

const options = {
  seed: { type: 'string', default: '1' },
  seeds: { type: 'string', default: '1' },
  hours: { type: 'string', default: '48' },
  trace: { type: 'string', default: '0' },
  calm: { type: 'string', default: '1' },
  without: { type: 'string', default: '' },
  minimise: { type: 'boolean', default: false },
  minutes: { type: 'string', default: '0' },
  night: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

/** Reads the command line; `today_ms` tells a night's seeds from those of the night before. @throws UsageError */
export function readSettings(args: readonly string[], today_ms: number): Settings | 'help' {
  const values = parsed(args);
  if (values.help) return 'help';
  const number = (name: 'seed' | 'seeds' | 'hours' | 'trace' | 'calm' | 'minutes', least: number, most: number) => {
    const value = values[name].trim() === '' ? Number.NaN : Number(values[name]);
    const whole = name === 'hours' || name === 'minutes' || Number.isInteger(value);
    if (!(value >= least && value <= most) || !whole)
      throw new UsageError(`--${name} is a${whole ? '' : ' whole'} number from ${least} to ${most}`);
    return value;
  };
  const asked = {
    first: number('seed', 0, 2 ** 32 - 1),
    seeds: number('seeds', 1, 1e6),
    hours: number('hours', 0.01, 1e5),
    calm: number('calm', 1, 1000),
    minutes: number('minutes', 0, 1e5),
    trace: number('trace', 0, 1e6),
    without: values.without.split(',').filter((kind) => kind !== ''),
    minimise: values.minimise,
  };
  if (!values.night) return asked;
  return { ...asked, first: Math.floor(today_ms / 86_400_000) * 1000, seeds: 1e6, hours: 192, calm: 8, minutes: 480 };
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    throw new UsageError(`${(error as Error).message.split('. ')[0]}; --help lists the options`);
  }
}
