import type { Plan } from './world.ts';

/** What is protected where; `rpo`: in rough hours, and in calm ones. */
type Protection = Omit<Plan, 'rpo'> & { readonly rpo: readonly [string, string] };

const often = ['Fifteen_Minutes', 'One_Hour'] as const;
const seldom = ['Thirty_Minutes', 'Six_Hours'] as const;

/** Two sites, or three in a row whose middle is destination and source. */
const common: readonly Protection[] = [
  { from: 0, to: 1, members: 1, rpo: often },
  { from: 0, to: 1, members: 2, rpo: seldom, snapshots: true },
];
const onward: Protection = { from: 1, to: 2, members: 1, rpo: often };
/** Two sites that are each other's destination. */
const back: Protection = { from: 1, to: 0, members: 2, rpo: often };
/** The last of three is a destination of both others. */
const across: Protection = { from: 0, to: 2, members: 1, rpo: often };

/** Which sites are paired in a seed's world, and what is protected between them. */
export function topologyOf(
  sites: number,
  seed: number,
): { readonly pairs: readonly (readonly [number, number])[]; readonly plans: readonly Protection[] } {
  if (sites === 2) return { pairs: [[0, 1]], plans: seed % 8 === 5 ? [...common, back] : common };
  const row = [
    [0, 1],
    [1, 2],
  ] as const;
  if (seed % 8 !== 7) return { pairs: row, plans: [...common, onward] };
  return { pairs: [...row, [0, 2]], plans: [...common, onward, across] };
}
