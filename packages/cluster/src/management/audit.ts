import type { Random } from '@antipode/base';
import type { EnumValue } from '@antipode/contract';
import type { FastifyRequest } from 'fastify';
import type { Catalog } from '../catalog/catalog.ts';
import { timestamp } from '../catalog/documents.ts';
import type { Principal } from '../security/authenticator.ts';

/** Kinds of entries; what is not here is a change of the configuration. */
const kinds: Readonly<Record<string, EnumValue<'AuditEventType'>>> = {
  'login_session.login': 'Authentication',
  'login_session.authorize': 'Authorization',
  'login_session.logout': 'Logout',
};

/** Who did what, from where, as which job if it came to one, and whether it was done. Bodies are not kept: they may hold secrets. */
export function auditRequest(
  catalog: Catalog,
  random: Random,
  now_ms: number,
  request: FastifyRequest,
  principal: Principal | undefined,
  operation: string,
  status: number,
  job?: string,
): void {
  const [resource, action] = operation.split('.');
  const done = status < 400;
  catalog.tell('audit_event', {
    id: random.uuid(),
    type: kinds[operation] ?? 'Config',
    timestamp: timestamp(now_ms),
    username: principal?.user ?? null,
    is_successful: done,
    client_address: request.ip,
    server_address: null,
    appliance_id: 'A1',
    job_id: job ?? null,
    resource_type: resource ?? null,
    resource_action: action ?? null,
    message_code: done ? '0x09050101' : '0x09050102',
    message_arguments: [operation, String(status)],
    message_l10n: `${operation} ${done ? 'was done' : `was refused (${status})`}`,
  });
}
