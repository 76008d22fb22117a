/** Contents of files: text that differs in every page, and is the same for the same seed, file, version and place. */

export const page_bytes = 4096;
const corpus_bytes = 64 * 1024;
const words =
  'account ledger harbour signal tide anchor beacon cargo voyage chart compass current deck drift engine ferry galley hatch helm hull island jetty keel knot latitude lighthouse longitude mast meridian mooring north oar passage pilot port quay reef rigging rudder sail salt sextant shore sound south spar starboard stern storm strait swell tiller timber tow trade watch water wave west wharf wind winch yard'.split(
    ' ',
  );

/** A small generator of numbers that looks random enough for contents and sizes; the same seed, the same numbers. */
export function numbersFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
}

/** Text from which every page takes a different window. */
export function makeCorpus(seed: number): Buffer {
  const next = numbersFrom(seed);
  const parts: string[] = [];
  let length = 0;
  let column = 0;
  while (length < corpus_bytes + page_bytes) {
    const word = words[next() % words.length] ?? '';
    column += word.length + 1;
    parts.push(column > 72 ? `${word}\n` : `${word} `);
    if (column > 72) column = 0;
    length += word.length + 1;
  }
  return Buffer.from(parts.join('').slice(0, corpus_bytes + page_bytes), 'latin1');
}

export interface FileIdentity {
  readonly id: number;
  readonly path: string;
  readonly version: number;
}

/** Writes page `page` of a file's contents, or as much of it as `target` holds. */
export function fillPage(target: Buffer, corpus: Buffer, seed: number, file: FileIdentity, page: number): void {
  const window = numbersFrom(
    seed ^ Math.imul(file.id + 1, 0x85ebca6b) ^ Math.imul(file.version + 1, 0xc2b2ae35) ^ page,
  )();
  corpus.copy(target, 0, window % corpus_bytes, (window % corpus_bytes) + target.length);
  const heading = `${file.path} version ${file.version} page ${page} of volume ${seed}\n`;
  target.write(heading.slice(0, target.length), 0, 'latin1');
}
