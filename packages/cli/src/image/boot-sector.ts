import { fatCopies, type Geometry, rootEntries, sector_bytes } from './geometry.ts';

const media = 0xf8;
const fsInfoSector = 1;
const backupSector = 6;

/** The reserved sectors: boot sector and, for FAT32, the free-space hint and copies of both. */
export function reservedArea(
  geometry: Geometry,
  volumeId: number,
  label: string,
  freeClusters: number,
  nextFree: number,
): Buffer {
  const area = Buffer.alloc(geometry.reservedSectors * sector_bytes);
  const boot = bootSector(geometry, volumeId, label);
  boot.copy(area, 0);
  if (geometry.kind === 'FAT32') {
    const info = fsInfo(freeClusters, nextFree);
    info.copy(area, fsInfoSector * sector_bytes);
    boot.copy(area, backupSector * sector_bytes);
    info.copy(area, (backupSector + fsInfoSector) * sector_bytes);
  }
  return area;
}

function bootSector(geometry: Geometry, volumeId: number, label: string): Buffer {
  const { kind, size_bytes, cluster_bytes, reservedSectors, fatSectors } = geometry;
  const sector = Buffer.alloc(sector_bytes);
  const sectors = size_bytes / sector_bytes;
  const is32 = kind === 'FAT32';
  sector.set(is32 ? [0xeb, 0x58, 0x90] : [0xeb, 0x3c, 0x90], 0);
  sector.write('ANTIPODE', 3, 'latin1');
  sector.writeUInt16LE(sector_bytes, 11);
  sector.writeUInt8(cluster_bytes / sector_bytes, 13);
  sector.writeUInt16LE(reservedSectors, 14);
  sector.writeUInt8(fatCopies, 16);
  sector.writeUInt16LE(is32 ? 0 : rootEntries, 17);
  const isShort = !is32 && sectors < 65_536;
  sector.writeUInt16LE(isShort ? sectors : 0, 19);
  sector.writeUInt8(media, 21);
  sector.writeUInt16LE(is32 ? 0 : fatSectors, 22);
  sector.writeUInt16LE(63, 24);
  sector.writeUInt16LE(255, 26);
  sector.writeUInt32LE(isShort ? 0 : sectors, 32);
  if (is32) {
    sector.writeUInt32LE(fatSectors, 36);
    sector.writeUInt32LE(2, 44);
    sector.writeUInt16LE(fsInfoSector, 48);
    sector.writeUInt16LE(backupSector, 50);
  }
  const tail = is32 ? 64 : 36;
  sector.writeUInt8(0x80, tail);
  sector.writeUInt8(0x29, tail + 2);
  sector.writeUInt32LE(volumeId >>> 0, tail + 3);
  sector.write(label.padEnd(11).slice(0, 11), tail + 7, 'latin1');
  sector.write(`${kind}   `, tail + 18, 'latin1');
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

function fsInfo(freeClusters: number, nextFree: number): Buffer {
  const sector = Buffer.alloc(sector_bytes);
  sector.writeUInt32LE(0x41615252, 0);
  sector.writeUInt32LE(0x61417272, 484);
  sector.writeUInt32LE(freeClusters, 488);
  sector.writeUInt32LE(nextFree, 492);
  sector.writeUInt32LE(0xaa550000, 508);
  return sector;
}

/** Media byte in the first entry of a FAT. */
export const fatMedia = media;
