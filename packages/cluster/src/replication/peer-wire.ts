import type { EnumValue } from '@antipode/contract';
import type { PeerMessage, PeerReply } from '@antipode/replication';
import type { HostPort } from '../config.ts';

/**
 * What clusters say to each other's management over mutual TLS, beside the verbs of sessions: one JSON request and one JSON
 * answer each, every one idempotent. `version` travels with each request; a cluster speaks its own and the one before [C9.4].
 */
export interface PeerIdentity {
  /** Cluster serial (`global_id`). */
  readonly serial: string;
  readonly name: string;
  /** Software version. */
  readonly version: string;
  /** PEM of the certificate that its peer and data connections show. */
  readonly certificate: string;
  /** Where its REST interface is, as the other side reaches it: `host:port`. */
  readonly managementAddress: string;
  /** Where peers reach its management channel and its data connections. */
  readonly peer: HostPort;
  readonly data: HostPort;
}

export interface Hello {
  readonly serial: string;
  readonly name: string;
  readonly version: string;
  readonly now_ms: number;
  readonly peer: HostPort;
  readonly data: HostPort;
  /** Absent from a peer that does not tell them. */
  readonly appliances?: readonly PeerAppliance[];
}

/** An appliance of a cluster, as another cluster knows it. */
export interface PeerAppliance {
  readonly id: string;
  readonly name: string;
  readonly model: string;
}

export interface OfferedVolume {
  readonly id: string;
  readonly name: string;
  readonly description: string | null;
  readonly size: number;
  readonly appType: string | null;
  readonly appTypeOther: string | null;
}

/** A volume and its protection, as the source describes them to the cluster that is to hold the copy. */
export interface SessionOffer {
  readonly session: string;
  readonly generation: { readonly number: number; readonly site: string; readonly nonce: string };
  readonly volume: OfferedVolume;
  readonly protection: PolicyCopy;
}

/** The same for a group with all its members. */
export interface GroupOffer extends Omit<SessionOffer, 'volume'> {
  readonly group: {
    readonly id: string;
    readonly name: string;
    readonly description: string | null;
    readonly isWriteOrderConsistent: boolean;
  };
  readonly volumes: readonly OfferedVolume[];
}

/** A volume of the source and its copy. */
export interface MadeCopy {
  readonly source: string;
  readonly copy: string;
}

/** A protection policy as it is copied to the destination (read-only there). */
export interface PolicyCopy {
  readonly id: string;
  readonly name: string;
  readonly description: string | null;
  readonly replicationRule: {
    readonly id: string;
    readonly name: string;
    readonly rpo: string;
    readonly alertThreshold: number;
  };
  readonly snapshotRules: readonly SnapshotRuleCopy[];
}

/** A snapshot rule of such a policy: it fires where what it protects is the source. */
export interface SnapshotRuleCopy {
  readonly id: string;
  readonly name: string;
  /** Of these two exactly one. */
  readonly interval: EnumValue<'SnapRuleInterval'> | null;
  readonly timeOfDay: string | null;
  readonly timezone: string | null;
  readonly daysOfWeek: readonly string[];
  readonly retention_h: number;
  readonly isSecure: boolean;
}

export type PeerRequest =
  /** `lost`: whoever asks counts the link as lost until this is answered. */
  | { readonly kind: 'hello'; readonly hello: Hello; readonly lost?: boolean }
  /** Both sides get an entry for the other. */
  | { readonly kind: 'pair'; readonly identity: PeerIdentity; readonly latency: string }
  | { readonly kind: 'unpair' }
  | { readonly kind: 'offer'; readonly offer: SessionOffer }
  | { readonly kind: 'offer_group'; readonly offer: GroupOffer }
  /** Volumes are wanted for members to come; with `check` it is only asked whether they could be had. */
  | {
      readonly kind: 'members';
      readonly session: string;
      readonly volumes: readonly OfferedVolume[];
      readonly check: boolean;
    }
  /** The source could not complete what it offered. */
  | { readonly kind: 'withdraw'; readonly session: string }
  | { readonly kind: 'policy'; readonly session: string; readonly protection: PolicyCopy }
  /** The volume or group of a session has another name or description; with `volume` one of its members, by its id at the receiver. */
  | {
      readonly kind: 'volume';
      readonly session: string;
      readonly volume?: string;
      readonly name: string;
      readonly description: string | null;
    }
  | { readonly kind: 'session'; readonly message: PeerMessage };

export type PeerAnswer =
  | { readonly kind: 'hello'; readonly hello: Hello }
  | { readonly kind: 'done' }
  | { readonly kind: 'accepted'; readonly volume: string }
  | { readonly kind: 'accepted_group'; readonly group: string; readonly volumes: readonly MadeCopy[] }
  | { readonly kind: 'members'; readonly volumes: readonly MadeCopy[] }
  /** Refused for a reason that the operator can mend: carries an entry of the error catalogue. */
  | { readonly kind: 'refused'; readonly code: string; readonly message: string; readonly arguments: readonly string[] }
  | { readonly kind: 'session'; readonly reply: PeerReply };
