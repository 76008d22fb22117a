// A stand-in for `antipode serve` in tests of the lab: the REST calls that pairing needs, and listeners on every port it is given.
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer as createHttps } from 'node:https';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { selfSignedCertificate } from '@antipode/client/testing';

const args = process.argv.slice(3);
const argument = (flag: string): string => args[args.indexOf(flag) + 1] ?? '';
const addressOf = (flag: string): { host: string; port: number } => {
  const [host = '', port = ''] = argument(flag).split(':');
  return { host, port: Number(port) };
};
const dir = argument('--data');
const name = argument('--name');
const password = readFileSync(argument('--admin-password-file'), 'utf8').trim();
const lab = join(dir, '..');
mkdirSync(dir, { recursive: true });
const pairs = join(lab, 'pairs');

const keysFile = join(dir, 'keys.json');
if (!existsSync(keysFile)) writeFileSync(keysFile, JSON.stringify(selfSignedCertificate(name)));
const keys = JSON.parse(readFileSync(keysFile, 'utf8')) as { key: string; cert: string };

const server = createHttps(keys, (request, response) => {
  const { method = '', url = '', headers } = request;
  const path = url.split('?')[0];
  const send = (status: number, body?: unknown, more: Record<string, string> = {}): void => {
    response.writeHead(status, more).end(body === undefined ? undefined : JSON.stringify(body));
  };
  appendFileSync(join(lab, 'requests'), `${name} ${method} ${path}\n`);
  if (headers.authorization !== undefined) {
    const isRight = headers.authorization === `Basic ${Buffer.from(`admin:${password}`).toString('base64')}`;
    return isRight ? send(200, [{ id: '1' }], { 'set-cookie': 'auth_cookie=x', 'DELL-EMC-TOKEN': 'y' }) : send(401);
  }
  if (headers.cookie !== 'auth_cookie=x') return send(401);
  if (path === '/api/rest/cluster') return send(200, [{ id: '0', global_id: `PS-${name}` }]);
  if (path === '/api/rest/x509_certificate/exchange') return send(204);
  if (path === '/api/rest/remote_system' && method === 'POST') {
    writeFileSync(pairs, 'paired');
    return send(201, { id: 'r1' });
  }
  if (path === '/api/rest/remote_system')
    return send(200, existsSync(pairs) ? [{ id: 'r1', state: 'OK', data_connection_state: 'OK' }] : []);
  return send(path === '/api/rest/logout' ? 204 : 404, path === '/api/rest/logout' ? undefined : { messages: [] });
});

const { host, port } = addressOf('--listen');
for (const flag of ['--nbd', '--peer', '--replication']) {
  const { host: at, port: on } = addressOf(flag);
  createServer((socket) => {
    socket.on('error', () => undefined);
    socket.pipe(socket);
  }).listen(on, at);
}
process.on('SIGTERM', () => process.exit(0));
process.on('disconnect', () => process.exit(0));
server.listen(port, host, () => {
  process.send?.({
    kind: 'ready',
    ready: { url: `https://${host}:${port}`, nbd: addressOf('--nbd'), username: 'admin' },
  });
});
