import type { Clock, Random } from '@antipode/base';
import type { RestError } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import type { VolumeDocument } from '../catalog/documents.ts';
import { newVolumeDocument, protectionOf } from '../services/volume-document.ts';
import type { OfferedVolume, PeerAnswer } from './peer-wire.ts';

/** A volume as its source describes it to the cluster that is to hold the copy. */
export const offeredVolume = (volume: VolumeDocument): OfferedVolume => ({
  id: volume.id,
  name: volume.name,
  description: volume.description,
  size: volume.size,
  appType: volume.app_type,
  appTypeOther: volume.app_type_other,
});

/** A document for the copy of a volume: the same name, and not writable by hosts. */
export function copyDocument(
  deps: { readonly clock: Clock; readonly random: Random },
  offered: OfferedVolume,
  appliance: string,
): VolumeDocument {
  const id = deps.random.uuid();
  const document = newVolumeDocument(deps, {
    id,
    name: offered.name,
    size: offered.size,
    appliance,
    type: 'Primary',
    protection: protectionOf(id, null, null, null, 'User'),
    description: offered.description,
    appType: offered.appType as VolumeDocument['app_type'],
    appTypeOther: offered.appTypeOther,
  });
  return { ...document, is_replication_destination: true };
}

/** A refusal of this cluster on its way to the other's operator. */
export function refusedBy(catalog: Catalog, error: RestError): Extract<PeerAnswer, { kind: 'refused' }> {
  const name = String(catalog.get('cluster', '0')?.name ?? 'the peer');
  return { kind: 'refused', code: error.entry.code, message: `at ${name}: ${error.message}`, arguments: error.args };
}

export const notKnown: PeerAnswer = { kind: 'refused', code: '', message: 'the session is not known', arguments: [] };
