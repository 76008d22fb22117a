import type { CycleId, PointId, ProposalId, SessionId, TestId, VolumeId } from '@antipode/base';
import type { ImageId, Manifest } from '../../port/moving.ts';
import type {
  Base,
  CyclePlan,
  Digest,
  Generation,
  Pair,
  PointSpec,
  RestartAddress,
  Restoration,
  Role,
  Tag,
} from '../../port/types.ts';
import type { LayerId } from '../log/types.ts';
import type { EncodedGraph } from './graph.ts';

/**
 * One change of the graph: the body of one control record, as JSON, or of several (docs/formats/control-records.md). Layer ids that
 * a change makes are in it, so that applying it needs nothing else.
 */
export type Change =
  | {
      readonly op: 'create_volume';
      readonly id: VolumeId;
      readonly name: string;
      readonly size: number;
      readonly destination: boolean;
      readonly layer: LayerId;
      readonly tag: Tag;
    }
  | { readonly op: 'delete_volume'; readonly id: VolumeId }
  | { readonly op: 'resize_volume'; readonly id: VolumeId; readonly size: number }
  | {
      readonly op: 'change_volume';
      readonly id: VolumeId;
      readonly name?: string;
      readonly tag?: Tag;
      readonly destination?: false;
      readonly layer?: LayerId;
    }
  | {
      readonly op: 'freeze';
      readonly point: PointSpec;
      readonly volumes: readonly VolumeId[];
      readonly layers: readonly LayerId[];
      readonly hold?: string;
    }
  | { readonly op: 'drop_point'; readonly id: PointId }
  | { readonly op: 'change_point'; readonly id: PointId; readonly tag: Tag }
  | { readonly op: 'hold'; readonly id: PointId; readonly holder: string }
  | { readonly op: 'release'; readonly id: PointId; readonly holder: string }
  | {
      readonly op: 'fork';
      readonly id: VolumeId;
      readonly name: string;
      readonly point: PointId;
      readonly of: VolumeId;
      readonly layer: LayerId;
      readonly tag: Tag;
    }
  | {
      readonly op: 'restore';
      readonly volume: VolumeId;
      readonly point: PointId;
      readonly of: VolumeId;
      readonly layer: LayerId;
    }
  | { readonly op: 'restore_all'; readonly images: readonly (Restoration & { readonly layer: LayerId })[] }
  | {
      readonly op: 'create_half';
      readonly session: SessionId;
      readonly role: Role;
      readonly generation: Generation;
      readonly pairs: readonly Pair[];
      readonly tag: Tag;
      readonly layers: readonly LayerId[];
    }
  | {
      readonly op: 'change_half';
      readonly session: SessionId;
      readonly pairs?: readonly Pair[];
      readonly joining?: readonly Pair[];
      readonly tag?: Tag;
    }
  | { readonly op: 'remove_half'; readonly session: SessionId }
  | { readonly op: 'advance_base'; readonly session: SessionId; readonly base: Base }
  | { readonly op: 'reset_base'; readonly session: SessionId; readonly base?: Base }
  | { readonly op: 'open_stage'; readonly plan: CyclePlan; readonly layers: readonly (readonly LayerId[])[] }
  | {
      readonly op: 'stage_address';
      readonly session: SessionId;
      readonly cycle: CycleId;
      readonly address: RestartAddress;
    }
  | {
      readonly op: 'commit_stage';
      readonly session: SessionId;
      readonly cycle: CycleId;
      readonly digests: readonly Digest[];
    }
  | { readonly op: 'abandon_stage'; readonly session: SessionId }
  | {
      readonly op: 'seal';
      readonly session: SessionId;
      readonly proposal: ProposalId;
      readonly point: PointSpec;
      readonly layers: readonly LayerId[];
    }
  | { readonly op: 'unseal'; readonly session: SessionId }
  | { readonly op: 'refuse_proposal'; readonly session: SessionId; readonly proposal: ProposalId }
  | {
      readonly op: 'start_test';
      readonly session: SessionId;
      readonly test: TestId;
      readonly point: PointId;
      readonly layers: readonly LayerId[];
    }
  | { readonly op: 'stop_test'; readonly session: SessionId; readonly keep?: PointSpec }
  | {
      readonly op: 'promote';
      readonly session: SessionId;
      readonly next: Generation;
      readonly commit?: { readonly cycle: CycleId; readonly digests: readonly Digest[] };
      readonly from?: PointId;
      readonly testCopy?: true;
      readonly layers: readonly LayerId[];
    }
  | {
      readonly op: 'demote';
      readonly session: SessionId;
      readonly learned: Generation;
      readonly base?: Base;
      /** Present when the heads held something beyond the base. */
      readonly preserve?: PointSpec;
      /** Fresh empty layers for volumes that have no image at the base. */
      readonly layers: readonly LayerId[];
    }
  | {
      readonly op: 'depart';
      readonly move: string;
      readonly point: PointSpec;
      readonly volumes: readonly VolumeId[];
      readonly layers: readonly LayerId[];
    }
  | { readonly op: 'stay'; readonly move: string }
  | { readonly op: 'departed'; readonly move: string }
  | {
      readonly op: 'arrive';
      readonly move: string;
      readonly image: ImageId;
      readonly layer: LayerId;
      readonly parent?: LayerId;
      readonly size: number;
    }
  | {
      readonly op: 'image_address';
      readonly move: string;
      readonly image: ImageId;
      readonly next: number;
      readonly complete?: true;
    }
  | { readonly op: 'arrival_epoch'; readonly move: string; readonly epoch: number }
  | { readonly op: 'adopt'; readonly move: string; readonly manifest: Manifest; readonly layers: readonly LayerId[] }
  | { readonly op: 'forget_arrival'; readonly move: string }
  /** A checkpoint up to `sequence` is about to be written. Changes nothing. */
  | { readonly op: 'checkpoint'; readonly sequence: number }
  /** Segments are about to be given back that only checkpoints from `sequence` on do not name [C6.2]. Changes nothing. */
  | { readonly op: 'oldest_checkpoint'; readonly sequence: number }
  /** The whole graph: older control records are no longer needed. */
  | { readonly op: 'graph'; readonly graph: EncodedGraph };

/**
 * A piece of a change that is too large for one record: its JSON text in `parts` pieces, one record directly behind the other. The
 * change happens with the last one; a run that was cut short never does. `graph_part` is how pieces of a whole graph were called before.
 */
interface ChangePart {
  readonly op: 'part' | 'graph_part';
  /** What the change is; absent in a `graph_part`. */
  readonly of?: Change['op'];
  readonly part: number;
  readonly parts: number;
  readonly text: string;
}

/** Characters of a piece: however they are escaped, the record stays below its limit. */
const part_characters = 128 * 1024;
/**
 * Most bytes of one change in all its records. On a disk that has just become full, what is kept free and in reserve takes that much, so
 * that a change which was begun is not cut short.
 */
export const CHANGE_BYTES_MAX = 16 * 1024 * 1024;

const encode = (value: ChangePart): Uint8Array => Buffer.from(JSON.stringify(value), 'utf8');
const isPart = (found: Change | ChangePart): found is ChangePart => found.op === 'part' || found.op === 'graph_part';

/** The bodies of the records of a change: one, or as many as it takes. */
export function encodeChange(change: Change): readonly Uint8Array[] {
  const text = JSON.stringify(change);
  if (text.length <= part_characters) return [Buffer.from(text, 'utf8')];
  const parts = Math.ceil(text.length / part_characters);
  return Array.from({ length: parts }, (_, part) =>
    encode({
      op: 'part',
      of: change.op,
      part,
      parts,
      text: text.slice(part * part_characters, (part + 1) * part_characters),
    }),
  );
}

const parse = (body: Uint8Array): Change | ChangePart =>
  JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')) as Change | ChangePart;

/** What a record is about, whether it holds a whole change or a piece of one. */
export function opOf(body: Uint8Array): Change['op'] {
  const found = parse(body);
  return isPart(found) ? (found.of ?? 'graph') : found.op;
}

/** Puts the changes of a scan together: records are shown to it in the order of their sequences. */
export class ChangeGatherer {
  #texts: string[] = [];
  #last = 0;

  /** Pieces of a change have been seen, and not yet all of them. */
  get between(): boolean {
    return this.#texts.length > 0;
  }

  /** The change that this record completes. */
  take(body: Uint8Array, sequence: number): Change | undefined {
    const found = parse(body);
    const follows = sequence === this.#last + 1;
    this.#last = sequence;
    if (!isPart(found)) {
      this.#texts = [];
      return found;
    }
    if (!follows || found.part !== this.#texts.length) this.#texts = [];
    if (found.part !== this.#texts.length) return undefined;
    this.#texts.push(found.text);
    if (this.#texts.length < found.parts) return undefined;
    const whole = JSON.parse(this.#texts.splice(0).join('')) as unknown;
    return found.op === 'part' ? (whole as Change) : { op: 'graph', graph: whole as EncodedGraph };
  }
}
