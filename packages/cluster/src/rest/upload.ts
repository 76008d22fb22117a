import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { type ResourceSpec, RestError } from '@antipode/contract';
import { Busboy } from '@fastify/busboy';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { RequestContext } from './handlers.ts';
import { restLimits } from './limits.ts';
import type { Guard, RestOptions } from './options.ts';

/** Takes a file as it arrives; rejects as soon as it knows that it is not wanted. */
export type UploadHandler = (
  context: RequestContext,
  file: AsyncIterable<Buffer>,
  size: number,
) => Promise<{ readonly id: string }>;

const uploading = new WeakSet<Socket>();
/** Whether a file is arriving on a connection. */
export const isUploading = (socket: Socket): boolean => uploading.has(socket);

/** `POST` of a form with a file, which goes through without being held: who may is asked before anything of it is read. */
export function addUpload(
  app: FastifyInstance,
  resource: ResourceSpec,
  field: string,
  options: RestOptions,
  guard: Guard,
): void {
  const name = `${resource.name}.create`;
  void app.register(async (own) => {
    own.removeAllContentTypeParsers();
    own.addContentTypeParser('*', (_request: FastifyRequest, _payload: unknown, done: (error: null) => void) =>
      done(null),
    );
    own.post(`/api/rest/${resource.name}`, { bodyLimit: restLimits.upload_bytes }, async (request, reply) => {
      // Whatever comes of it, what may still be arriving is not read to its end.
      void reply.header('connection', 'close');
      const principal = await guard(request, name);
      let status = 500;
      let entered: string | undefined;
      try {
        const take = options.uploads?.[name];
        if (take === undefined) throw new RestError('method_not_allowed', 'create', resource.name);
        const job = options.jobs.begin({ resource: resource.name, action: 'create', id: null, user: principal.user });
        entered = job.id;
        const context: RequestContext = {
          principal,
          clientAddress: request.ip,
          job: job.id,
          progress: job.progress,
        };
        const made = await job.run(
          () => receive(request, field, options, (file, size) => take(context, file, size)),
          201,
        );
        status = 201;
        return await reply.code(201).send(made);
      } catch (error) {
        status = error instanceof RestError ? error.status : 500;
        throw error;
      } finally {
        options.audit(request, principal, name, status, entered);
      }
    });
  });
}

/** Finds the file in the form and hands it on; what ends early ends it too. */
function receive<T>(
  request: FastifyRequest,
  field: string,
  options: RestOptions,
  take: (file: AsyncIterable<Buffer>, size: number) => Promise<T>,
): Promise<T> {
  const type = request.headers['content-type'];
  if (type === undefined || !/^multipart\/form-data\b/i.test(type)) throw new RestError('upload_expected', field);
  const length = Number(request.headers['content-length'] ?? 0);
  if (length > restLimits.upload_bytes) throw new RestError('body_too_large');
  const { raw } = request;
  const { socket } = raw;
  const { clock } = options;
  return new Promise<T>((resolve, reject) => {
    let file: Readable | undefined;
    const form = new Busboy({
      headers: { ...request.headers, 'content-type': type },
      limits: { files: 1, fields: 16, fieldSize: 1024, parts: 32, fileSize: restLimits.upload_bytes },
    });
    let stall = clock.after(restLimits.uploadStall_ms, () => raw.destroy());
    const finish = (end: () => void): void => {
      stall.cancel();
      uploading.delete(socket);
      end();
    };
    let failure: Error | undefined;
    /** Answered when what is on its way has arrived: a sender that is cut off in the middle would never read why. */
    const fail = (error: Error): void => {
      if (failure !== undefined) return;
      failure = error;
      file?.destroy(error);
      raw.unpipe(form);
      if (raw.complete || raw.destroyed) return finish(() => reject(error));
      raw.on('end', () => finish(() => reject(error)));
      raw.resume();
    };
    raw.on('data', () => {
      stall.cancel();
      stall = clock.after(restLimits.uploadStall_ms, () => raw.destroy());
    });
    raw.on('close', () => {
      if (raw.complete) return;
      fail(new RestError('upload_incomplete'));
      finish(() => reject(failure));
    });
    form.on('file', (name, stream) => {
      if (name !== field) return fail(new RestError('upload_expected', field));
      file = stream;
      stream.on('limit', () => fail(new RestError('body_too_large')));
      // Heard by whoever reads it.
      stream.on('error', () => undefined);
      take(stream, length).then(
        (made) => finish(() => resolve(made)),
        (error: Error) => fail(error),
      );
    });
    form.on('finish', () => {
      if (file === undefined) fail(new RestError('upload_expected', field));
    });
    form.on('error', () => fail(new RestError('upload_incomplete')));
    uploading.add(socket);
    raw.pipe(form);
  });
}
