import { nextStart_ms } from '@antipode/replication';
import { timestamp } from '../catalog/documents.ts';
import { objectiveFigures } from './session-monitor.ts';
import type { SessionEntry, SessionsDeps } from './session-parts.ts';
import { accumulatedBytes } from './step-runner.ts';

type Figures = Readonly<Record<string, unknown>>;

/** Ours, beside the session: figures that PowerStore's resource has no place for. Of a group: of all its members together. */
export async function sessionFigures(entry: SessionEntry, deps: SessionsDeps): Promise<Figures> {
  const { half, shippedTotal_bytes } = entry.record;
  const { dataPlane, clock } = deps;
  const progress = half.role === 'source' ? await dataPlane.progress(half.id) : undefined;
  const accumulated = half.role === 'source' ? await accumulatedBytes(half, dataPlane) : 0;
  const next = nextStart_ms(half);
  return {
    id: half.id,
    generation: half.generation.number,
    members: half.pairs.length,
    members_waiting: half.newcomers?.length ?? 0,
    shipped_bytes_total: shippedTotal_bytes + (progress?.shipped_bytes ?? 0),
    total_bytes: progress?.total_bytes ?? 0,
    copied_bytes: progress?.copied_bytes ?? 0,
    remaining_bytes: progress === undefined ? 0 : progress.total_bytes - progress.copied_bytes,
    accumulated_bytes: accumulated,
    ...objectiveFigures(half, clock.now()),
    next_sync_timestamp: next === undefined ? null : timestamp(next),
    paused_scope: half.paused?.scope ?? null,
    fault:
      half.fault === undefined
        ? null
        : { code: half.fault.code, message: half.fault.message, goes_on_by_itself: half.fault.retry },
  };
}

/** What a failover or reprotect would do now (DESIGN, preview). */
export async function sessionPreview(entry: SessionEntry, deps: SessionsDeps): Promise<Figures> {
  const { half } = entry.record;
  const { dataPlane, clock } = deps;
  const engine = await dataPlane.half(half.id);
  const point = engine?.base && (await dataPlane.point(engine.base.point));
  return {
    id: half.id,
    role: half.role,
    point:
      point === undefined
        ? null
        : {
            id: point.id,
            instant: timestamp(point.instant_ms),
            age_ms: Math.max(0, clock.now() - point.instant_ms),
          },
    bytes_beyond_point: half.role === 'source' ? await accumulatedBytes(half, dataPlane) : null,
  };
}
