import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { receiveInto } from './receive.ts';

test('an accepted socket receives into memory of ours, pauses, and still counts with its server', async () => {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [accepted] = (await once(server, 'connection')) as [Socket];
  const memory = Buffer.alloc(4);
  const seen: string[] = [];
  let told = () => {};
  const socket = receiveInto(accepted, {
    target: () => memory,
    arrived(buffer, length) {
      expect(buffer).toBe(memory);
      seen.push(buffer.toString('latin1', 0, length));
      socket?.pause();
      told();
    },
  });
  // On a Node that works otherwise the server falls back to Node's own buffers: slower, and nothing else.
  expect(socket).toBeDefined();
  const arrived = () => new Promise<void>((resolve) => (told = resolve));
  let next = arrived();
  client.write('abcdef');
  await next;
  expect(seen).toEqual(['abcd']);
  next = arrived();
  socket?.resume();
  await next;
  expect(seen).toEqual(['abcd', 'ef']);
  socket?.resume();
  socket?.end('bye');
  const [answer] = (await once(client, 'data')) as [Buffer];
  expect(answer.toString()).toBe('bye');
  client.end();
  await new Promise((resolve) => server.close(resolve));
});
