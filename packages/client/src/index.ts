export { Client, type ConnectOptions, connect } from './client.ts';
export { ApiError, ConnectionError, type ErrorMessage, JobError, ProtocolError } from './errors.ts';
export type { Query } from './query.ts';
export type * from './resources.ts';
export type { TlsTrust } from './tls.ts';
export type { Answer, Answered, Method } from './transport.ts';
