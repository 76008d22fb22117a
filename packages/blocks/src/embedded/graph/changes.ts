import type { CycleId, PointId, ProposalId, SessionId, TestId, VolumeId } from '@antipode/base';
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
 * One change of the graph: the body of one control record, as JSON (docs/formats/control-records.md). Layer ids that a change
 * makes are in it, so that applying it needs nothing else.
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
  /** A checkpoint up to `sequence` is about to be written. Changes nothing. */
  | { readonly op: 'checkpoint'; readonly sequence: number }
  /** Segments are about to be given back that only checkpoints from `sequence` on do not name [C6.2]. Changes nothing. */
  | { readonly op: 'oldest_checkpoint'; readonly sequence: number }
  /** The whole graph: older control records are no longer needed. */
  | { readonly op: 'graph'; readonly graph: EncodedGraph }
  /** A whole graph that is too large for one record: its JSON text in `parts` pieces, one directly behind the other. */
  | { readonly op: 'graph_part'; readonly part: number; readonly parts: number; readonly text: string };

export const encodeChange = (change: Change): Uint8Array => Buffer.from(JSON.stringify(change), 'utf8');
/** Characters of a graph in one record: however they are escaped, the record stays below its limit. */
const graphPart_characters = 128 * 1024;

/** The whole graph as one change, or as many. */
export function graphChanges(graph: EncodedGraph): readonly Change[] {
  const text = JSON.stringify(graph);
  if (text.length <= graphPart_characters) return [{ op: 'graph', graph }];
  const parts = Math.ceil(text.length / graphPart_characters);
  return Array.from({ length: parts }, (_, part) => ({
    op: 'graph_part',
    part,
    parts,
    text: text.slice(part * graphPart_characters, (part + 1) * graphPart_characters),
  }));
}

/** Finds whole graphs in a stream of changes. */
export class GraphGatherer {
  #texts: string[] = [];

  /** The graph that this change completes. */
  take(change: Change): EncodedGraph | undefined {
    if (change.op === 'graph') return change.graph;
    if (change.op !== 'graph_part' || change.part !== this.#texts.length) this.#texts = [];
    if (change.op !== 'graph_part' || change.part !== this.#texts.length) return undefined;
    this.#texts.push(change.text);
    if (this.#texts.length < change.parts) return undefined;
    return JSON.parse(this.#texts.splice(0).join('')) as EncodedGraph;
  }
}

export const decodeChange = (body: Uint8Array): Change =>
  JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')) as Change;
