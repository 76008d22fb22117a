import { StringDecoder } from 'node:string_decoder';

/** What the local protocol needs of a stream socket. */
export interface LocalSocket {
  readonly destroyed: boolean;
  write(text: string): unknown;
  destroy(reason?: Error): unknown;
  on(event: 'data', listener: (chunk: Buffer) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'connect' | 'close', listener: () => void): unknown;
}

/** Calls `onLine` with each complete line; a line longer than `most_bytes` ends the connection. */
export function readLines(socket: LocalSocket, most_bytes: number, onLine: (line: string) => void): void {
  const decoder = new StringDecoder('utf8');
  let parts: string[] = [];
  let held = 0;
  socket.on('data', (chunk: Buffer) => {
    const text = decoder.write(chunk);
    let from = 0;
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', from)) {
      parts.push(text.slice(from, at));
      const line = parts.join('');
      parts = [];
      held = 0;
      from = at + 1;
      if (line.length > 0) onLine(line);
    }
    if (from < text.length) {
      parts.push(text.slice(from));
      held += text.length - from;
      if (held > most_bytes) socket.destroy(new Error('line too long'));
    }
  });
}
