import { connectNbd } from '@antipode/hosts';
import type { HostVolume } from './volume-io.ts';

/** Opens a volume of a site (`nbd://HOST:PORT`) by its name. */
export async function openHostVolume(nbd: string, exportName: string): Promise<HostVolume> {
  const { hostname, port } = new URL(nbd);
  const disk = await connectNbd({ host: hostname, port: Number(port), exportName });
  return {
    size_bytes: disk.size,
    isReadOnly: disk.flags.readOnly,
    async read(offset, length) {
      const target = new Uint8Array(length);
      await disk.read(offset, target);
      return target;
    },
    write: (offset, bytes) => disk.write(offset, bytes),
    flush: () => disk.flush(),
    close: () => disk.close(),
  };
}

/** The errno of a refusal, such as EPERM; what else went wrong in words. */
export function refusalOf(error: unknown): string {
  if (error instanceof Error && 'errno' in error && typeof error.errno === 'string') return error.errno;
  return error instanceof Error ? error.message : String(error);
}
