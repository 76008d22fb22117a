import type { BlockDevice } from '@antipode/blocks';

/** Who is on the other end, as far as the connection proves it [C11.1]. */
export interface NbdClientIdentity {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly auth: /** Nothing proven: no TLS. `loopback` when the client is on this machine. */
    | { readonly kind: 'open'; readonly loopback: boolean }
    /** TLS, but the server asks for no client certificate. */
    | { readonly kind: 'tls' }
    /** A certificate that the configured authority vouches for. */
    | {
        readonly kind: 'certificate';
        readonly commonName: string;
        /** The common name and the alternative names: whom the certificate may stand for. */
        readonly names: readonly string[];
        readonly subject: string;
        readonly fingerprint256: string;
      };
}

/** One line of the list of exports. */
export interface ExportEntry {
  /** What a client is shown and may open. */
  readonly name: string;
  /** Other names under which it opens and that are not listed (the volume's id). */
  readonly aliases?: readonly string[];
  readonly description?: string;
}

/** An export opened for one connection. */
export interface OpenExport {
  /** The name by which the export is known, whatever alias was asked for. */
  readonly name: string;
  /** What its owner knows it by, whatever its name becomes; absent: the name. */
  readonly id?: string;
  readonly description?: string;
  /** Belongs to the connection: it is closed when the connection ends. */
  readonly device: BlockDevice;
  /** Payload of a connection that may be under way at the moment, bytes; absent: as much as the server allows. */
  readonly inFlight_bytes?: () => number | undefined;
}

/** Which exports there are for whom. Asked at every negotiation, so a change of mapping acts on the next one. */
export interface ExportSource {
  list(client: NbdClientIdentity): readonly ExportEntry[] | Promise<readonly ExportEntry[]>;
  /** Nothing when there is no such export, or none for this client: the two look alike to it [C11.1]. A promise where others are asked first. */
  open(name: string, client: NbdClientIdentity): OpenExport | undefined | Promise<OpenExport | undefined>;
}
