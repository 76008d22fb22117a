/** Draws how far a step is, on one line of a terminal; does nothing elsewhere. */
export class ProgressBar {
  readonly #write: (text: string) => void;
  readonly #isTerminal: boolean;
  #drawn = '';
  #title = '';

  constructor(write: (text: string) => void, isTerminal: boolean) {
    this.#write = write;
    this.#isTerminal = isTerminal;
  }

  begin(title: string): void {
    this.#title = title;
    this.show(0, '');
  }

  show(fraction: number, what: string): void {
    if (!this.#isTerminal) return;
    const text = barText(this.#title, fraction, what);
    if (text === this.#drawn) return;
    this.#drawn = text;
    this.#write(`\r\u001b[2K${text}`);
  }

  clear(): void {
    if (this.#isTerminal && this.#drawn !== '') this.#write('\r\u001b[2K');
    this.#drawn = '';
  }
}

const width = 24;

export function barText(title: string, fraction: number, what: string): string {
  const share = Math.min(1, Math.max(0, fraction));
  const full = Math.round(share * width);
  const percent = `${Math.floor(share * 100)}`.padStart(3);
  return `[${'#'.repeat(full)}${'.'.repeat(width - full)}] ${percent} % ${title}${what === '' ? '' : `: ${what}`}`.slice(
    0,
    110,
  );
}
