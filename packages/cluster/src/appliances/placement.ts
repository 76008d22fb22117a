import type { DataPlane } from '../local/api.ts';
import { firstAppliance } from '../supervisor/appliances.ts';

/** Where a new volume goes that nobody has wanted anywhere: to the appliance with most space left. */
export async function freestAppliance(dataPlane: Pick<DataPlane, 'appliances'>): Promise<string> {
  const appliances = await dataPlane.appliances();
  const open = appliances.filter(({ writes }) => writes?.kind === 'running');
  const free = ({ usage }: (typeof appliances)[number]) => usage?.free_bytes ?? 0;
  const best = open.reduce<(typeof open)[number] | undefined>(
    (most, one) => (most === undefined || free(one) > free(most) ? one : most),
    undefined,
  );
  return best?.id ?? firstAppliance;
}
