import { type Clock, volumeId } from '@antipode/base';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Catalog } from '../catalog/catalog.ts';
import { timestamp } from '../catalog/documents.ts';
import type { DataPlane } from '../local/api.ts';
import { DataPlaneAway } from '../local/client.ts';
import type { SlotClaim } from '../replication/link-gate.ts';
import type { Pairing } from '../replication/pairing.ts';
import type { Sessions } from '../replication/sessions.ts';
import type { Guard } from '../rest/options.ts';
import { notFound } from '../rest/references.ts';
import type { Principal } from '../security/authenticator.ts';
import type { ScrubService } from '../services/scrubs.ts';
import { clusterMetrics } from './metrics.ts';
import { prometheusText, prometheusType } from './prometheus.ts';

/** What is ours and not PowerStore's, under /api/antipode: it can never be mistaken for it. Changes are the administrator's, by the guard. */
export function ownRoutes(
  app: FastifyInstance,
  guard: Guard,
  parts: {
    readonly catalog: Catalog;
    readonly dataPlane: DataPlane;
    readonly clock: Clock;
    readonly sessions: Sessions;
    readonly pairing: Pairing;
    readonly scrubs: ScrubService;
    /** Enters what was asked, by whom. */
    readonly audit: (request: FastifyRequest, principal: Principal, operation: string, status: number) => void;
  },
): void {
  const { catalog, dataPlane, clock, sessions, pairing, scrubs, audit } = parts;
  const base = '/api/antipode/v1';
  app.get<{ Params: { id: string } }>(`${base}/replication_sessions/:id`, async (request) => {
    await guard(request);
    const figures = await sessions.figures(request.params.id);
    if (figures === undefined) throw notFound('replication_session', request.params.id);
    return figures;
  });
  app.get<{ Params: { id: string } }>(`${base}/replication_sessions/:id/preview`, async (request) => {
    await guard(request);
    const preview = await sessions.preview(request.params.id);
    if (preview === undefined) throw notFound('replication_session', request.params.id);
    return preview;
  });
  app.get<{ Params: { id: string } }>(`${base}/replication_sessions/:id/history`, async (request) => {
    await guard(request);
    if (catalog.get('replication_session', request.params.id) === undefined)
      throw notFound('replication_session', request.params.id);
    return sessions.monitor.history(request.params.id);
  });
  app.get<{ Params: { id: string } }>(`${base}/remote_systems/:id/cycles`, async (request) => {
    await guard(request);
    if (catalog.get('remote_system', request.params.id) === undefined)
      throw notFound('remote_system', request.params.id);
    const gate = sessions.gateOf(request.params.id);
    const shown = ({ session, first, since_ms }: SlotClaim) => ({
      session_id: session,
      is_first_copy: first,
      asked: timestamp(since_ms),
    });
    return { most: gate.most, running: gate.running().map(shown), waiting: gate.waiting().map(shown) };
  });
  // Where monitoring systems look; a login is needed as everywhere.
  app.get('/metrics', async (request, reply) => {
    await guard(request);
    const metrics = await clusterMetrics({ catalog, dataPlane, clock, sessions });
    return reply.type(prometheusType).send(prometheusText(metrics));
  });
  app.get<{ Params: { id: string } }>(`${base}/volumes/:id/usage`, async (request) => {
    await guard(request);
    const volume = catalog.get('volume', request.params.id);
    if (volume === undefined || volume.type === 'Snapshot') throw notFound('volume', request.params.id);
    const usage = await dataPlane.volumeUsage(volumeId(volume.id));
    const session = sessions.sessionOf(volume.id);
    const figures = session === undefined ? undefined : await sessions.figures(session.id);
    return { id: volume.id, ...usage, accumulated_bytes: figures?.accumulated_bytes ?? 0 };
  });
  app.get<{ Params: { id: string } }>(`${base}/appliances/:id/usage`, async (request) => {
    await guard(request);
    if (catalog.get('appliance', request.params.id) === undefined) throw notFound('appliance', request.params.id);
    const found = (await dataPlane.appliances()).find(({ id }) => id === request.params.id);
    if (found?.usage === undefined) throw new DataPlaneAway(`appliance ${request.params.id} does not answer`);
    return { id: request.params.id, ...found.usage };
  });
  app.get(`${base}/appliances`, async (request) => {
    await guard(request);
    return dataPlane.appliances();
  });
  app.get(`${base}/scrub`, async (request) => {
    await guard(request);
    return scrubs.status();
  });
  for (const [path, operation, act] of [
    ['scrub', 'appliance.scrub', (user: string, body: unknown) => scrubs.start(user, body)],
    ['scrub/stop', 'appliance.stop_scrub', () => scrubs.stop()],
  ] as const)
    app.post(`${base}/${path}`, async (request) => {
      const principal = await guard(request);
      const result = await act(principal.user, request.body);
      audit(request, principal, operation, 200);
      return result;
    });
  app.post(`${base}/peer/exchange`, async (request) => {
    await guard(request);
    return pairing.answerExchange(request.body);
  });
}
