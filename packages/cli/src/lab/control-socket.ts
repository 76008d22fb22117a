import { chmodSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { relative } from 'node:path';
import { limits } from '../limits.ts';
import { CommandError } from '../options/usage-error.ts';
import { type ControlAnswer, type ControlRequest, type LabStatus, parseControlRequest } from './control-protocol.ts';
import { labPlaces } from './layout.ts';

/** The path to use for the socket: a Unix socket's path is short, so the way from the current directory serves when it is shorter. */
function socketPath(dir: string): string {
  const absolute = labPlaces(dir).socket;
  const fromHere = relative(process.cwd(), absolute);
  const path = fromHere.length < absolute.length ? fromHere : absolute;
  if (Buffer.byteLength(path) > limits.socketPath_bytes)
    throw new CommandError(
      `the path of ${absolute} is too long for a socket: use a shorter --dir, or run from a directory near it`,
    );
  return path;
}

/** Another lab runs in this directory. */
export class LabRunning extends CommandError {
  override name = 'LabRunning';
}

/** The lab's ear: a socket in its directory that its owner alone may use. It is the lock of the directory as well. */
export class ControlServer {
  readonly #server: Server;
  readonly #path: string;
  readonly #open = new Set<Socket>();

  constructor(dir: string, answer: (request: ControlRequest) => Promise<LabStatus>) {
    this.#path = socketPath(dir);
    this.#server = createServer((socket) => {
      this.#open.add(socket);
      socket.on('close', () => this.#open.delete(socket));
      socket.on('error', () => socket.destroy());
      onLine(socket, (line) => void this.#serve(socket, line, answer));
    });
  }

  async start(dir: string): Promise<void> {
    if (await isAnswered(this.#path)) throw new LabRunning(`another lab runs in ${dir}`);
    // Left behind by a lab that was killed.
    rmSync(this.#path, { force: true });
    const mask = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', (error: NodeJS.ErrnoException) =>
          reject(error.code === 'EADDRINUSE' ? new LabRunning(`another lab runs in ${dir}`) : error),
        );
        this.#server.listen(this.#path, resolve);
      });
    } finally {
      process.umask(mask);
    }
    chmodSync(this.#path, 0o600);
  }

  async stop(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(socket: Socket, line: string, answer: (request: ControlRequest) => Promise<LabStatus>): Promise<void> {
    const request = parseControlRequest(line);
    let reply: ControlAnswer;
    try {
      reply =
        request === undefined ? { ok: false, message: 'not a request' } : { ok: true, status: await answer(request) };
    } catch (error) {
      reply = { ok: false, message: error instanceof Error ? error.message : String(error) };
    }
    if (!socket.destroyed) socket.write(`${JSON.stringify(reply)}\n`);
  }
}

/** Asks the lab that runs in a directory. @throws CommandError when none does or it refuses. */
export async function askLab(dir: string, request: ControlRequest): Promise<LabStatus> {
  const path = socketPath(dir);
  const answer = await new Promise<ControlAnswer>((resolve, reject) => {
    const socket = createConnection(path);
    socket.setTimeout(limits.control_ms, () => socket.destroy(new CommandError(`the lab in ${dir} does not answer`)));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'ENOENT' || error.code === 'ECONNREFUSED'
          ? new CommandError(`no lab runs in ${dir}: start one with \`antipode lab --dir ${dir}\``)
          : error,
      ),
    );
    socket.on('close', () => reject(new CommandError(`the lab in ${dir} ended before it answered`)));
    onLine(socket, (line) => {
      resolve(JSON.parse(line) as ControlAnswer);
      socket.destroy();
    });
    socket.write(`${JSON.stringify(request)}\n`);
  });
  if (!answer.ok) throw new CommandError(answer.message);
  return answer.status;
}

/** Whether a lab runs in this directory. */
export const isLabRunning = (dir: string): Promise<boolean> => isAnswered(socketPath(dir));

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function onLine(socket: Socket, take: (line: string) => void): void {
  let text = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    text += chunk;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      take(text.slice(0, end));
      text = text.slice(end + 1);
    }
    if (text.length > limits.controlLine_bytes) socket.destroy();
  });
}
