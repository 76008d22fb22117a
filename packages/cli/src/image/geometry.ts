import { assert } from '@antipode/base';

export const sector_bytes = 512;
export const fatCopies = 2;
/** Directory entries are this long. */
export const entry_bytes = 32;
/** The root directory holds this many entries, whatever the FAT's width. */
export const rootEntries = 512;
export const imageLeast_bytes = 16 * 2 ** 20;
export const imageMost_bytes = 64 * 2 ** 30;

/** Where the parts of a FAT file system lie. Sectors count from the start of the volume. */
export interface Geometry {
  readonly kind: 'FAT16' | 'FAT32';
  readonly size_bytes: number;
  readonly cluster_bytes: number;
  readonly reservedSectors: number;
  readonly fatSectors: number;
  /** FAT16 keeps its root directory between FAT and data; FAT32 keeps it in a cluster chain. */
  readonly rootSectors: number;
  readonly firstDataSector: number;
  readonly clusters: number;
}

/** The width of a FAT follows from the number of clusters alone; cluster sizes are chosen so that it comes out as meant. */
function clusterSize(size_bytes: number): { kind: Geometry['kind']; cluster_bytes: number } {
  const mib = size_bytes / 2 ** 20;
  if (mib < 32) return { kind: 'FAT16', cluster_bytes: 2048 };
  if (mib <= 240) return { kind: 'FAT16', cluster_bytes: 4096 };
  if (mib <= 288) return { kind: 'FAT16', cluster_bytes: 8192 };
  if (mib <= 8 * 1024) return { kind: 'FAT32', cluster_bytes: 4096 };
  if (mib <= 16 * 1024) return { kind: 'FAT32', cluster_bytes: 8192 };
  if (mib <= 32 * 1024) return { kind: 'FAT32', cluster_bytes: 16_384 };
  return { kind: 'FAT32', cluster_bytes: 32_768 };
}

/** Lays out a file system on a volume of 16 MiB to 64 GiB, in whole MiB. Data starts at a multiple of 4 KiB. */
export function geometryFor(size_bytes: number): Geometry {
  assert(size_bytes >= imageLeast_bytes && size_bytes <= imageMost_bytes, 'an image is 16 MiB to 64 GiB');
  assert(size_bytes % 2 ** 20 === 0, 'an image is a whole number of MiB');
  const { kind, cluster_bytes } = clusterSize(size_bytes);
  const sectors = size_bytes / sector_bytes;
  const perCluster = cluster_bytes / sector_bytes;
  const fatEntry_bytes = kind === 'FAT16' ? 2 : 4;
  const rootSectors = kind === 'FAT16' ? (rootEntries * entry_bytes) / sector_bytes : 0;
  const leastReserved = kind === 'FAT16' ? 8 : 32;
  // As many clusters as there would be without FATs: the table is a few sectors larger than needed, which is allowed.
  const fatSectors = Math.ceil(((sectors / perCluster + 2) * fatEntry_bytes) / sector_bytes);
  const unpadded = leastReserved + fatCopies * fatSectors + rootSectors;
  const reservedSectors = leastReserved + ((8 - (unpadded % 8)) % 8);
  const firstDataSector = reservedSectors + fatCopies * fatSectors + rootSectors;
  const clusters = Math.floor((sectors - firstDataSector) / perCluster);
  assert(
    kind === 'FAT16' ? clusters >= 4085 && clusters < 65_525 : clusters >= 65_525,
    `${clusters} clusters are not a ${kind}`,
  );
  return { kind, size_bytes, cluster_bytes, reservedSectors, fatSectors, rootSectors, firstDataSector, clusters };
}

/** Byte offset of a cluster; the first one is number 2. */
export const clusterOffset = (geometry: Geometry, cluster: number): number =>
  geometry.firstDataSector * sector_bytes + (cluster - 2) * geometry.cluster_bytes;
