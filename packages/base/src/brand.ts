declare const brand: unique symbol;
/** A primitive that cannot be mixed up with another of the same shape. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** Identity of a volume on one cluster (uuid). The peer's copy of a volume has another one. */
export type VolumeId = Brand<string, 'VolumeId'>;
/** Identity of a frozen moment (uuid); the same on every cluster that holds it [C1.1]. */
export type PointId = Brand<string, 'PointId'>;
/** Identity of a replication session (uuid); the same on both clusters. */
export type SessionId = Brand<string, 'SessionId'>;
/** Identity of one synchronization cycle (uuid). */
export type CycleId = Brand<string, 'CycleId'>;
/** Identity of one planned-failover attempt (uuid). */
export type ProposalId = Brand<string, 'ProposalId'>;
/** Identity of one failover test (uuid). */
export type TestId = Brand<string, 'TestId'>;

export const volumeId = (text: string): VolumeId => text as VolumeId;
export const pointId = (text: string): PointId => text as PointId;
export const sessionId = (text: string): SessionId => text as SessionId;
export const cycleId = (text: string): CycleId => text as CycleId;
export const proposalId = (text: string): ProposalId => text as ProposalId;
export const testId = (text: string): TestId => text as TestId;
