/**
 * A large buffer for work that comes again and again: lent to one at a time, and kept for the next only as long as memory is not
 * collected, so that busy times reuse it and quiet ones do not pay for it.
 */
export class Scratch {
  private kept: WeakRef<Uint8Array> | undefined;

  /** At least `bytes` long; its content is whatever was there before. */
  take(bytes: number): Uint8Array {
    const kept = this.kept?.deref();
    this.kept = undefined;
    return kept !== undefined && kept.length >= bytes ? kept : new Uint8Array(bytes);
  }

  give(buffer: Uint8Array): void {
    this.kept = new WeakRef(buffer);
  }
}
