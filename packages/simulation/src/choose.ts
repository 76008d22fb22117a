import type { Random } from '@antipode/base';

/** One of some kinds by chance, each as often as its weight says. */
export function choose<K extends string>(random: Random, weights: Readonly<Partial<Record<K, number>>>): K {
  const kinds = Object.entries(weights) as [K, number][];
  let at = random.fraction() * kinds.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [kind, weight] of kinds) {
    at -= weight;
    if (at <= 0) return kind;
  }
  return kinds[0]![0];
}
