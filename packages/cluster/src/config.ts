import type { Pace } from '@antipode/base';

/** An address to listen on or to be reached at. */
export interface HostPort {
  readonly host: string;
  /** 0: any free port, chosen once and kept in the data directory. */
  readonly port: number;
}

/** Everything one running cluster needs to know. Parsed and checked at the edge (CLI); trusted from there on. */
export interface ClusterConfig {
  /** Absolute path. Holds the catalog, keys and one directory per appliance. Mode 0700. */
  readonly dataDir: string;
  /** Directories, each on a disk of its own perhaps, that are appliances besides the one in the data directory; kept once given. */
  readonly appliances: readonly string[];
  /** Cluster name, 1 to 64 characters; used at first start, kept afterwards. */
  readonly name: string;
  /** REST and web page, HTTPS. */
  readonly listen: HostPort;
  readonly nbd: HostPort;
  /** Management channel between clusters (mutual TLS). */
  readonly peer: HostPort;
  /** Data connections between clusters (mutual TLS), ends in the data-plane process. */
  readonly replication: HostPort;
  /** Where peers reach the two, when not at the address listened on (NAT, a lab's link). */
  readonly advertise: { readonly peer?: HostPort; readonly replication?: HostPort };
  /** PEM files; absent: self-signed, generated at first start. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  /** `open`: no TLS, any client (loopback listeners and --nbd-open); `tls`: client certificates of this CA only. */
  readonly nbdAccess:
    | { readonly mode: 'open' }
    | { readonly mode: 'tls'; readonly certFile: string; readonly keyFile: string; readonly clientCaFile: string };
  /** Password of the first administrator at first start; absent: generated and printed once. */
  readonly adminPassword?: string;
  /** Where events and alerts are posted to. The key of their signature is the first line of a file. */
  readonly webhook?: { readonly url: string; readonly secretFile?: string };
  readonly logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace';
  /** Heartbeat period on the management channel, ms. */
  readonly heartbeat_ms: number;
  /** What is stored is verified this long after it was last, ms; 0: only when asked. */
  readonly scrubEvery_ms: number;
  /** How fast a scrub reads at most. */
  readonly scrubRate_bytes_per_s: number;
  /** Data that hosts leave alone is packed in the background. */
  readonly packCold: boolean;
  /** How long they must have. */
  readonly packAfter_ms: number;
  /** Resume of a locally paused session: the guide's sentence, or the refusal of 4.x (REPLICATION A1). */
  readonly localPauseResume: 'pause_both' | 'refuse';
  /** When cycles start: 80 % of the objective after the one before, or at every half of it by the wall clock (REPLICATION A7). */
  readonly schedule: 'share_of_rpo' | 'wall_clock';
  /** Cycles that may run at once on the link to one peer; the others wait in line. */
  readonly cyclesAtOnce: number;
  /** How long a process of a new release may take to be ready. */
  readonly takeoverWithin_ms: number;
  /** A lab's time: dates and schedules pass faster than the machine's. */
  readonly pace?: Pace;
}
