import type { CyclePlan, CyclePoint, Digest, MovingImage, RestartAddress } from '@antipode/blocks';

/**
 * The data channel's messages (docs/formats/data-channel.md). A frame is 16 bytes (magic u32, version u8, type u8, zeros u16,
 * header length u32, payload length u32; little-endian), a header in JSON, and a payload.
 */
export const channelVersion = 1;
export const oldestChannelVersion = 1;
export const frameMagic = 0x31504e41;
export const framePrefix_bytes = 16;

/** Why a destination does not go on; closed list, part of the protocol. */
export type RefusalCode =
  | 'protocol_mismatch'
  | 'peer_paused'
  | 'peer_suspended'
  | 'peer_not_ready'
  | 'session_unknown'
  | 'stale_generation'
  | 'base_mismatch'
  | 'no_space'
  | 'io_error'
  | 'staged_damage'
  | 'bad_message';

/** A run in a frame: first block, count, and whether it is zeros. Data runs take their checksums and bytes from the payload in order. */
export type WireRun = readonly [block: number, count: number, zero: 0 | 1];

export type ChannelMessage =
  | { readonly type: 'hello'; readonly oldest: number; readonly newest: number; readonly serial: string }
  /** `points`: how many points of the plan follow in messages of their own, because it is too large for one; the plan has none then. */
  | { readonly type: 'open'; readonly plan: CyclePlan; readonly points?: number }
  | { readonly type: 'points'; readonly points: readonly CyclePoint[] }
  | { readonly type: 'opened'; readonly address: RestartAddress }
  | { readonly type: 'committed'; readonly digests: readonly Digest[] }
  | { readonly type: 'refused'; readonly code: RefusalCode; readonly message: string }
  /** Payload: checksums of all data runs, then their bytes. */
  | {
      readonly type: 'runs';
      readonly point: number;
      readonly pair: number;
      readonly runs: readonly WireRun[];
      readonly repair?: true;
    }
  | { readonly type: 'sync'; readonly address: RestartAddress }
  | { readonly type: 'durable'; readonly address: RestartAddress }
  | { readonly type: 'prove' }
  | { readonly type: 'proving'; readonly blocks: number; readonly of: number }
  /** `digests[point][pair]`; with `more` the next points follow in another of these. */
  | { readonly type: 'proved'; readonly digests: readonly (readonly Digest[])[]; readonly more?: true }
  | {
      readonly type: 'pages';
      readonly point: number;
      readonly pair: number;
      readonly page: number;
      readonly count: number;
    }
  | { readonly type: 'page_digests'; readonly digests: readonly Digest[] }
  | { readonly type: 'commit'; readonly digests: readonly Digest[] }
  /** Within a cluster only: an image of a migration follows, as `runs` and `sync` of point 0 and pair 0. */
  | { readonly type: 'image'; readonly move: string; readonly image: MovingImage }
  | { readonly type: 'arriving'; readonly next: number; readonly complete: boolean }
  | { readonly type: 'close_image' }
  | { readonly type: 'image_closed'; readonly digest: Digest }
  /** What it is at the sender; answered by `arriving`, which says whether it is here. */
  | { readonly type: 'image_proof'; readonly digest: Digest }
  | { readonly type: 'ping' }
  | { readonly type: 'pong' };

export type ChannelType = ChannelMessage['type'];

const numbers: Readonly<Record<ChannelType, number>> = {
  hello: 1,
  open: 2,
  opened: 3,
  committed: 4,
  refused: 5,
  runs: 6,
  sync: 7,
  durable: 8,
  prove: 9,
  proving: 10,
  proved: 11,
  pages: 12,
  page_digests: 13,
  commit: 14,
  ping: 15,
  pong: 16,
  image: 17,
  arriving: 18,
  close_image: 19,
  image_closed: 20,
  points: 21,
  image_proof: 22,
};
const names = new Map(Object.entries(numbers).map(([name, number]) => [number, name as ChannelType]));

export const typeNumber = (type: ChannelType): number => numbers[type];
export const typeName = (number: number): ChannelType | undefined => names.get(number);
