import type { Writable } from 'node:stream';

const barWidth = 24;
/** Without a terminal a line is written this often at most. */
const quiet_ms = 5_000;

/** One line of progress on a terminal, rewritten in place; elsewhere a line now and then. */
export class Progress {
  readonly #out: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  #group = '';
  #done = 0;
  #total = 0;
  #saidAt_ms = Number.NEGATIVE_INFINITY;

  constructor(out: Writable & { readonly isTTY?: boolean; readonly columns?: number }) {
    this.#out = out;
  }

  /** A group begins; its steps are not known yet. */
  begin(group: string): void {
    this.#group = group;
    this.#done = 0;
    this.#total = 0;
    this.#saidAt_ms = Number.NEGATIVE_INFINITY;
    this.say('starting');
  }

  /** More steps are to come. */
  expect(steps: number): void {
    this.#total += steps;
  }

  /** The next step begins. */
  step(what: string): void {
    this.#show(what);
    this.#done += 1;
  }

  /** Something outside of the steps, such as a volume being filled. */
  say(what: string): void {
    this.#show(what);
  }

  /** Takes the line off the terminal. */
  end(): void {
    if (this.#out.isTTY === true) this.#out.write('\r\u001b[K');
  }

  #show(what: string): void {
    const count = this.#total === 0 ? '' : ` ${this.#done}/${this.#total}`;
    if (this.#out.isTTY !== true) {
      const now_ms = performance.now();
      if (now_ms - this.#saidAt_ms < quiet_ms) return;
      this.#saidAt_ms = now_ms;
      this.#out.write(`${this.#group}${count} ${what}\n`);
      return;
    }
    const filled = this.#total === 0 ? 0 : Math.min(barWidth, Math.round((this.#done / this.#total) * barWidth));
    const bar = `${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)}`;
    this.#out.write(`\r\u001b[K${`${bar} ${this.#group}${count} ${what}`.slice(0, (this.#out.columns ?? 80) - 1)}`);
  }
}
