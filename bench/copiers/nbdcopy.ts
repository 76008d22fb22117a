import { fill } from '../load/export-load.ts';
import { type ImageFormat, QemuNbd } from '../peers/qemu-nbd.ts';
import type { Bench } from '../runner/bench.ts';
import type { Sample } from '../runner/results.ts';
import { findTool } from '../runner/tools.ts';
import { type Copier, timed } from './copier.ts';

const MiB = 2 ** 20;

/** nbdcopy between two qemu-nbd servers, into a new qcow2 image or over a raw one that is allocated already. It knows no deltas. */
export class NbdcopyCopier implements Copier {
  readonly role = 'peer';
  readonly name: string;
  readonly #bench: Bench;
  readonly #source: QemuNbd;
  readonly #target: ImageFormat;
  #allocated: QemuNbd | undefined;

  constructor(bench: Bench, source: QemuNbd, target: ImageFormat) {
    this.#bench = bench;
    this.#source = source;
    this.#target = target;
    this.name = `nbdcopy into ${target === 'qcow2' ? 'a fresh qcow2' : 'an allocated raw'}`;
  }

  /** A filled image to copy from. */
  static async source(bench: Bench): Promise<QemuNbd> {
    const { size } = bench.settings;
    const server = await QemuNbd.start(bench, 'qcow2', size);
    await fill(bench, { uri: server.uri, size });
    return server;
  }

  async initial(): Promise<Sample> {
    const { size } = this.#bench.settings;
    if (this.#target === 'raw') {
      this.#allocated ??= await this.#allocate();
      return { value: size / MiB / (await this.#copyTo(this.#allocated)) };
    }
    const fresh = await QemuNbd.start(this.#bench, 'qcow2', size);
    const value = size / MiB / (await this.#copyTo(fresh));
    await fresh.discard();
    return { value };
  }

  async #allocate(): Promise<QemuNbd> {
    const { size } = this.#bench.settings;
    const server = await QemuNbd.start(this.#bench, 'raw', size);
    await this.#copyTo(server);
    return server;
  }

  #copyTo(target: QemuNbd): Promise<number> {
    return timed(() => this.#bench.run(findTool('nbdcopy') ?? 'nbdcopy', ['--flush', this.#source.uri, target.uri]));
  }
}
