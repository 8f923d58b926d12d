import { createHash } from 'node:crypto';

export interface SamplerOptions {
  readonly seed: number;
  /** Who draws: two members with the same data draw different batches. */
  readonly member: string;
  /** Examples held. */
  readonly rows: number;
}

/**
 * Draws the batch of any round, in any order of rounds: the answer is a function of the options, the round and the
 * batch alone. The rows are one endless sequence of epochs, each a seeded permutation of all rows; round r takes
 * positions r * batch to (r + 1) * batch - 1 of it. A batch as large as the data is the data: every row once, always
 * in the same order, so that whatever is cached or padded for one round serves all.
 */
export class Sampler {
  readonly #options: SamplerOptions;
  /** The permutations of the last two epochs asked for; a batch may span two. */
  readonly #epochs = new Map<number, Int32Array>();

  constructor(options: SamplerOptions) {
    this.#options = options;
  }

  /** Row numbers, `min(batch, rows)` of them. */
  batch(round: number, batch: number): Int32Array {
    const { rows } = this.#options;
    if (batch >= rows) return Int32Array.from({ length: rows }, (_, i) => i);
    return Int32Array.from({ length: batch }, (_, i) => {
      const position = round * batch + i;
      return this.#epoch(Math.floor(position / rows))[position % rows]!;
    });
  }

  #epoch(epoch: number): Int32Array {
    const known = this.#epochs.get(epoch);
    if (known) return known;
    const { seed, member, rows } = this.#options;
    const drawn = permutation(`onebyte/sampler/1\n${seed}\n${epoch}\n${member}`, rows);
    for (const old of this.#epochs.keys()) if (Math.abs(old - epoch) > 1) this.#epochs.delete(old);
    this.#epochs.set(epoch, drawn);
    return drawn;
  }
}

/** A permutation of 0..count-1 by Fisher and Yates's shuffle, as a function of the text alone. */
export function permutation(seedText: string, count: number): Int32Array {
  const next = generator(seedText);
  const order = Int32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor((next() / 2 ** 32) * (i + 1));
    const kept = order[i]!;
    order[i] = order[j]!;
    order[j] = kept;
  }
  return order;
}

/** Small fast counting generator (sfc32, Chris Doty-Humphrey's PractRand) started from a SHA-256: 32-bit words. */
function generator(seedText: string): () => number {
  const hash = createHash('sha256').update(seedText).digest();
  let [a, b, c, d] = [0, 4, 8, 12].map((at) => hash.readInt32LE(at)) as [number, number, number, number];
  return () => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return t >>> 0;
  };
}
