import type { Clock } from '@antipode/base';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Catalog } from '../catalog/catalog.ts';
import type { Authenticator, Principal } from '../security/authenticator.ts';
import type { KeyPair } from '../security/certificates.ts';
import type { JobRunner } from '../services/jobs.ts';
import type { Handlers } from './handlers.ts';
import type { UploadHandler } from './upload.ts';

/** What the REST interface is made of. */
export interface RestOptions {
  readonly catalog: Catalog;
  readonly authenticator: Authenticator;
  readonly clock: Clock;
  readonly handlers: Handlers;
  /** What takes files, by `resource.create`. */
  readonly uploads?: Readonly<Record<string, UploadHandler>>;
  readonly jobs: JobRunner;
  readonly version: string;
  /** PEM; absent in tests that inject requests. */
  readonly tls?: KeyPair;
  /** Attributes that pass are brought up to date before they are read. */
  readonly refresh: (resource: string, id: string | undefined) => Promise<void>;
  /** The one row of login_session. */
  readonly loginSession: (principal: Principal) => Readonly<Record<string, unknown>>;
  /** Ours, under /api/antipode. */
  readonly own: (app: FastifyInstance, guard: Guard) => void;
  /** `job`: the one that the change became. */
  readonly audit: (
    request: FastifyRequest,
    principal: Principal | undefined,
    operation: string,
    status: number,
    job?: string,
  ) => void;
  readonly onError: (error: unknown, requestId: string) => void;
}

/** Who makes a request, and may carry the operation out (absent: reading, or for a change what only administrators do); rejects with the refusal of whoever may not. */
export type Guard = (request: FastifyRequest, operation?: string) => Promise<Principal>;
