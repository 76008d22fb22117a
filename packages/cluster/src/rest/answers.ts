import type { Socket } from 'node:net';
import { RestError } from '@antipode/contract';
import type { ConnectionError, FastifyReply, FastifyRequest } from 'fastify';
import type { RestOptions } from './options.ts';
import { isUploading } from './upload.ts';

/** What could not even be read as a request gets an answer of the usual form, where there is still somebody to answer. */
export function answerBrokenRequest(error: ConnectionError, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  // A file takes as long as it takes; what stalls is ended by whoever reads it.
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && isUploading(socket)) return;
  if (!socket.writable) return void socket.destroy();
  const status =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? '431 Request Header Fields Too Large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? '408 Request Timeout'
        : '400 Bad Request';
  const body = JSON.stringify(new RestError('invalid_request', status.slice(4)).body());
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

/** Every failure as the answer that it is; what nobody foresaw is told of by its request's id alone. */
export function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply, options: RestOptions): void {
  if (error instanceof RestError) return void send(reply, error);
  const { statusCode, code } = error as { statusCode?: number; code?: string };
  if (statusCode === 413) return void send(reply, new RestError('body_too_large'));
  if (statusCode === 415) return void send(reply, new RestError('unsupported_media_type'));
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return void send(reply, new RestError('invalid_request', code ?? 'malformed'));
  options.onError(error, request.id);
  void send(reply, new RestError('internal', request.id));
}

export const send = (reply: FastifyReply, error: RestError): FastifyReply => {
  if (error.status === 401) void reply.header('www-authenticate', 'Basic realm="antipode", charset="UTF-8"');
  return reply.code(error.status).type('application/json').send(JSON.stringify(error.body()));
};
