import { X509Certificate } from 'node:crypto';
import { Agent, createServer, request, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { selfSigned } from '../../packages/cluster/src/security/certificates.ts';
import { wrongAnswer } from '../../packages/contract/src/testing.ts';

/**
 * Stands between a client and a cluster: passes on what is asked and answered as it is, and holds every answer
 * against the published interface.
 */
export class CheckingProxy {
  readonly #target: URL;
  readonly #agent = new Agent({ rejectUnauthorized: false, keepAlive: true });
  #server: Server | undefined;
  url = '';
  /** SHA-256 of its certificate. */
  fingerprint = '';
  /** What was wrong, in words. */
  readonly wrong: string[] = [];
  /** Operations that were asked for, as `GET 200 volume`. */
  readonly seen = new Map<string, number>();

  constructor(target: string) {
    this.#target = new URL(target);
  }

  async start(): Promise<this> {
    const { certificate, privateKey } = await selfSigned('proxy', ['127.0.0.1']);
    this.fingerprint = new X509Certificate(certificate).fingerprint256;
    const server = createServer({ cert: certificate, key: privateKey }, (asked, answer) => {
      const { method = 'GET', url = '/' } = asked;
      const passed = request(
        {
          ...{ agent: this.#agent, host: this.#target.hostname, port: this.#target.port, method, path: url },
          headers: { ...asked.headers, host: this.#target.host },
        },
        (got) => {
          const parts: Buffer[] = [];
          got.on('data', (part: Buffer) => parts.push(part));
          got.on('end', () => {
            const body = Buffer.concat(parts);
            const status = got.statusCode ?? 0;
            this.#check(method, url, status, got.headers['content-range'], body);
            answer.writeHead(status, got.headers).end(body);
          });
        },
      );
      passed.on('error', () => answer.destroy());
      asked.pipe(passed);
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return this;
  }

  async stop(): Promise<void> {
    this.#agent.destroy();
    this.#server?.closeAllConnections();
    await new Promise((resolve) => this.#server?.close(resolve) ?? resolve(undefined));
  }

  #check(method: string, url: string, status: number, contentRange: string | undefined, body: Buffer): void {
    const [, , , name = ''] = url.split(/[/?]/);
    const what = `${method} ${status} ${name}`;
    this.seen.set(what, (this.seen.get(what) ?? 0) + 1);
    let parsed: unknown;
    try {
      parsed = body.length === 0 ? undefined : JSON.parse(body.toString('utf8'));
    } catch {
      this.wrong.push(`${method} ${url} answered ${status} with what is not JSON`);
      return;
    }
    const wrong = wrongAnswer({ method, url, status, contentRange, body: parsed });
    if (wrong !== undefined) this.wrong.push(wrong);
  }
}
