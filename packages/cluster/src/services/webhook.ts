import { createHmac } from 'node:crypto';
import type { Clock, Random, Timer } from '@antipode/base';
import type { AlertDocument, EventDocument } from '../catalog/documents.ts';

/** Named limits of notifications, with the reason for each. */
export const webhookLimits = {
  /** Notifications that wait: beyond them the oldest are given up, and the next one that arrives says how many. */
  waiting: 1_000,
  /** An answer is given up after this. */
  answer_ms: 10_000,
  /** First and longest pause before the next attempt. */
  retryFirst_ms: 1_000,
  retryMost_ms: 60_000,
  /** Failures in a row before operators hear of it. */
  failuresTold: 5,
} as const;

/** What operators are told of, as it happens. */
export type Told =
  | { readonly kind: 'event'; readonly event: EventDocument }
  | { readonly kind: 'alert_raised' | 'alert_cleared'; readonly alert: AlertDocument };

export interface WebhookDeps {
  readonly url: string;
  /** Key of the signature; absent: notifications are not signed. */
  readonly secret?: string;
  readonly cluster: () => { readonly name: string; readonly serial: string };
  readonly clock: Clock;
  readonly random: Random;
  /** `undefined`: it works again. The reason never holds the URL's path, which may be a secret. */
  readonly failing: (reason: string | undefined) => void;
}

/**
 * Posts what operators are told of to one URL, in order, each until it is taken: an answer of 2xx takes it, 4xx gives it up (but 408
 * and 429), and anything else is tried again after a pause that doubles.
 */
export class Webhook {
  readonly #deps: WebhookDeps;
  readonly #waiting: { readonly id: string; readonly told: Told }[] = [];
  #dropped = 0;
  #failures = 0;
  #busy = false;
  #retry: Timer | undefined;
  readonly #stop = new AbortController();

  constructor(deps: WebhookDeps) {
    this.#deps = deps;
  }

  send(told: Told): void {
    if (this.#stop.signal.aborted) return;
    this.#waiting.push({ id: this.#deps.random.uuid(), told });
    if (this.#waiting.length > webhookLimits.waiting) {
      // The first may be on its way just now: the one behind it goes.
      this.#waiting.splice(this.#busy ? 1 : 0, 1);
      this.#dropped += 1;
    }
    void this.#work();
  }

  stop(): void {
    this.#stop.abort();
    this.#retry?.cancel();
  }

  async #work(): Promise<void> {
    if (this.#busy || this.#retry !== undefined) return;
    this.#busy = true;
    try {
      for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
        const failure = await this.#post(next.id, next.told);
        if (this.#stop.signal.aborted) return;
        if (failure?.again) return this.#pause(failure.reason);
        this.#waiting.shift();
        if (failure === undefined) this.#works();
        else this.#fails(failure.reason);
      }
    } finally {
      this.#busy = false;
    }
  }

  async #post(id: string, told: Told): Promise<{ readonly reason: string; readonly again: boolean } | undefined> {
    const { url, secret, cluster } = this.#deps;
    const dropped = this.#dropped;
    const body = JSON.stringify({ id, cluster: cluster(), ...told, ...(dropped > 0 && { dropped }) });
    const headers: Record<string, string> = {
      'content-type': 'application/json',
      'user-agent': 'antipode',
      'x-antipode-delivery': id,
    };
    if (secret !== undefined)
      headers['x-antipode-signature'] = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
    try {
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(webhookLimits.answer_ms)]);
      const answer = await fetch(url, { method: 'POST', headers, body, redirect: 'manual', signal });
      await answer.body?.cancel();
      if (answer.ok) {
        this.#dropped -= dropped;
        return undefined;
      }
      const refused = answer.status >= 400 && answer.status < 500 && answer.status !== 408 && answer.status !== 429;
      return { reason: `${new URL(url).host} answered ${answer.status}`, again: !refused };
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? (cause as Error | undefined)?.name;
      return { reason: `${new URL(url).host} cannot be reached (${code ?? 'unknown'})`, again: true };
    }
  }

  #pause(reason: string): void {
    this.#fails(reason);
    const { retryFirst_ms, retryMost_ms } = webhookLimits;
    const wait_ms = Math.min(retryFirst_ms * 2 ** (this.#failures - 1), retryMost_ms);
    this.#retry = this.#deps.clock.after(wait_ms, () => {
      this.#retry = undefined;
      void this.#work();
    });
  }

  #fails(reason: string): void {
    this.#failures += 1;
    if (this.#failures === webhookLimits.failuresTold) this.#deps.failing(reason);
  }

  #works(): void {
    if (this.#failures >= webhookLimits.failuresTold) this.#deps.failing(undefined);
    this.#failures = 0;
  }
}
