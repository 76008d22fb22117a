import { type Access, type BlockDevice, BlockError, type BlockErrorCode, type StatusExtent } from '@antipode/blocks';
import { NBD_MAX_PAYLOAD_BYTES } from '../limits.ts';
import type { NbdClient } from './client.ts';
import type { ErrnoName } from './errno.ts';
import { isNbdError } from './nbd-error.ts';

const ofErrno: Readonly<Partial<Record<ErrnoName, BlockErrorCode>>> = {
  EPERM: 'read_only',
  ENOSPC: 'no_space',
  EINVAL: 'out_of_range',
  ESHUTDOWN: 'closed',
};

/**
 * An export of another server as a device: what a front passes requests on to. A lost connection, and a server that ends, are
 * `closed`. Operations are ordered where they arrive, so by the one connection that they go over.
 */
export class ClientDevice implements BlockDevice {
  readonly #client: NbdClient;

  constructor(client: NbdClient) {
    this.#client = client;
  }

  size(): number {
    return this.#client.size;
  }

  access(): Access {
    return this.#client.flags.readOnly ? 'read_only' : 'read_write';
  }

  read(offset: number, target: Uint8Array): Promise<void> {
    return asBlockErrors(this.#client.read(offset, target));
  }

  write(offset: number, data: Uint8Array, fua: boolean): Promise<void> {
    return asBlockErrors(this.#client.write(offset, data, { fua }));
  }

  writeZeroes(offset: number, length: number, fua: boolean): Promise<void> {
    return asBlockErrors(this.#client.writeZeroes(offset, length, { fua }));
  }

  trim(offset: number, length: number, fua: boolean): Promise<void> {
    return asBlockErrors(this.#client.trim(offset, length, { fua }));
  }

  flush(): Promise<void> {
    return asBlockErrors(this.#client.flush());
  }

  async status(offset: number, length: number, limit: number): Promise<readonly StatusExtent[]> {
    const asked = Math.min(length, NBD_MAX_PAYLOAD_BYTES * 64);
    const extents = await asBlockErrors(this.#client.blockStatus(offset, asked));
    // An extent may reach beyond what was asked for; nobody asked about that.
    const within: StatusExtent[] = [];
    let left = asked;
    for (const extent of extents.slice(0, limit)) {
      if (left <= 0) break;
      within.push({ ...extent, length: Math.min(extent.length, left) });
      left -= extent.length;
    }
    return within;
  }

  close(): void {
    this.#client.close().catch(() => undefined);
  }
}

async function asBlockErrors<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isNbdError(error)) throw error;
    const code = error.kind === 'request' ? (ofErrno[error.errno ?? 'EIO'] ?? 'io_error') : 'closed';
    throw new BlockError(code, error.message, { cause: error });
  }
}
