import type { Socket } from 'node:net';

/**
 * Ends a connection with a reset, now; what is still on its way to the other end is lost with it. Not by `resetAndDestroy`: that says
 * goodbye first, and an error that comes before the goodbye is through makes Node 24 drop the descriptor without closing it, which the
 * event loop then polls for ever. Where a goodbye is under way already, or no connection yet, an ordinary close does.
 */
export function reset(socket: Socket): void {
  const goodbyeUnderWay = socket.writableEnded && !socket.writableFinished;
  if (!goodbyeUnderWay && !socket.connecting)
    (socket as unknown as { resetAndClosing: boolean }).resetAndClosing = true;
  socket.destroy();
}

/** Like {@link reset}, behind everything that was written before. */
export function resetBehind(socket: Socket): void {
  if (socket.destroyed || socket.writableEnded || socket.writableLength === 0) return reset(socket);
  socket.write('', () => reset(socket));
}
