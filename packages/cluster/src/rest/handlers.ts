import type { Static, TObject } from 'typebox';
import type { Principal } from '../security/authenticator.ts';

/** What a handler knows of the request besides its body. */
export interface RequestContext {
  readonly principal: Principal;
  readonly clientAddress: string;
  /** The job that the request is. */
  readonly job: string;
  /** Told while a long operation runs: percent done, for its job. */
  readonly progress: (percent: number) => void;
}

/** Carries out one changing operation. `id` is empty for operations on a collection. */
export type Handler = (context: RequestContext, id: string, body: unknown) => Promise<unknown>;

/** Handlers by `resource.operation`: create, modify, delete, or an action's name. */
export type Handlers = Readonly<Record<string, Handler>>;

/** A handler whose body has passed `schema` before it is called. */
export const handler =
  <T extends TObject>(
    _schema: T,
    work: (context: RequestContext, id: string, body: Static<T>) => Promise<unknown>,
  ): Handler =>
  (context, id, body) =>
    work(context, id, (body ?? {}) as Static<T>);
