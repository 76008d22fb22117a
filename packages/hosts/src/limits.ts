import { assert } from '@antipode/base';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Largest payload of one read or write, bytes. What every NBD client assumes when it is told nothing. */
export const NBD_MAX_PAYLOAD_BYTES = 32 * MIB;
/** Request size at which the server works best, bytes: one block of the engine. */
export const NBD_PREFERRED_BLOCK_BYTES = 4 * KIB;
/** Longest export name or metadata query, bytes (the protocol's own limit for strings). */
export const NBD_MAX_STRING_BYTES = 4 * KIB;
/** Longest data of one negotiation option, bytes; a longer one ends the connection unread. */
export const NBD_MAX_OPTION_BYTES = 16 * KIB;
/** Options one client may send before it enters transmission; a flood of them ends the connection. */
export const NBD_MAX_OPTIONS = 256;
/** Time from accepting a connection to the end of its negotiation, TLS included. */
export const NBD_NEGOTIATION_DEADLINE_ms = 15_000;
/** Connections in transmission or negotiation at once. */
export const NBD_MAX_CONNECTIONS = 512;
/** Connections in negotiation at once; one more closes the oldest of them, so that half-open ones cannot keep hosts out. */
export const NBD_MAX_NEGOTIATING = 64;
/** Requests of one connection under way at once; further ones wait in the socket. */
export const NBD_MAX_REQUESTS_IN_FLIGHT = 256;
/** Payload of one connection under way at once, bytes; further requests wait in the socket. */
export const NBD_MAX_BYTES_IN_FLIGHT = 64 * MIB;
/** Payload of all connections under way at once, bytes. */
export const NBD_MAX_BYTES_IN_FLIGHT_TOTAL = 256 * MIB;
/** Memory into which a server receives, shared by all its connections, bytes. */
export const NBD_RECEIVE_BYTES = 256 * KIB;
/** From this remainder on, a write's payload is received straight into its buffer, bytes. */
export const NBD_DIRECT_RECEIVE_BYTES = 32 * KIB;
/** Small replies gathered for one write to the socket, bytes. */
export const NBD_REPLY_BATCH_BYTES = 64 * KIB;
/** Replies up to this length are copied into the batch; longer ones go to the socket from where they are, bytes. */
export const NBD_COPY_REPLY_BYTES = 16 * KIB;
/** Batched replies a client has not taken yet, bytes; beyond it no further request of that client is read. */
export const NBD_MAX_UNTAKEN_BATCH_BYTES = 256 * KIB;
/** Free buffers kept for reuse by one server, bytes. */
export const NBD_POOL_RETAINED_BYTES = 16 * MIB;
/** A client that holds payload memory, moves no byte for this long and keeps others waiting for memory is closed. */
export const NBD_STALL_ms = 60_000;
/** Runs in one answer to a block-status request; the client asks again for the rest. */
export const NBD_MAX_STATUS_EXTENTS = 4096;
/** Granularity at which zeros inside a read are told from data, bytes. */
export const NBD_ZERO_SCAN_BYTES = 64 * KIB;
/** Piece in which CACHE reads ahead, bytes. */
export const NBD_CACHE_PIECE_BYTES = MIB;
/** Longest text of an error that goes to a client, bytes. */
export const NBD_MAX_ERROR_TEXT_BYTES = 512;
/** Time that requests under way get to finish when the server closes. */
export const NBD_DRAIN_ms = 10_000;
/** Time a client gets to close its side after the server has closed its own. */
export const NBD_LINGER_ms = 2_000;
/** Idle time after which the operating system starts to probe whether a client is still there. */
export const NBD_KEEPALIVE_ms = 60_000;

assert(NBD_MAX_BYTES_IN_FLIGHT >= NBD_MAX_PAYLOAD_BYTES, 'one request of the largest size must fit a connection');
assert(NBD_MAX_BYTES_IN_FLIGHT_TOTAL >= NBD_MAX_BYTES_IN_FLIGHT, 'one connection must fit the server');
assert(NBD_MAX_OPTION_BYTES >= 2 * NBD_MAX_STRING_BYTES, 'an option with a name and a query must fit');
assert(NBD_COPY_REPLY_BYTES + KIB <= NBD_REPLY_BATCH_BYTES, 'a copied reply with its header must fit a batch');
assert(NBD_MAX_NEGOTIATING < NBD_MAX_CONNECTIONS, 'hosts in transmission must outnumber those that negotiate');
