import type { BlockRows } from '../../model/block-rows.ts';
import { buildTokenTile } from '../../model/token-tile.ts';
import { type Feed, type Outputs, Session, type SessionOptions } from './session.ts';

/** Weights of the vocabulary that are widened at a time: 1 MiB. */
const TILE = 1 << 18;

/** Losses of tokens over a vocabulary that stays in its file, and is read a part at a time. */
export class TokenScores {
  readonly #matrix: BlockRows;
  readonly #tile: Session;

  private constructor(matrix: BlockRows, tile: Session) {
    this.#matrix = matrix;
    this.#tile = tile;
  }

  /** @throws OnebyteError ENGINE_FAILED */
  static async open(matrix: BlockRows, options: SessionOptions): Promise<TokenScores> {
    const { stored, width } = matrix;
    const graph = buildTokenTile(stored, width, stored.least !== undefined);
    return new TokenScores(matrix, await Session.open(graph, options));
  }

  /**
   * What a graph that ends in `loss` gives of tokens (`tokenLoss`).
   * @param scored [probes, scored, hidden]
   * @param feeds `targets` [scored] and `shares` [scored, examples]
   */
  async losses(scored: Float32Array, feeds: Readonly<Record<string, Feed>>): Promise<Outputs> {
    const targets = feeds.targets!.data as Int32Array;
    const shares = feeds.shares!.data as Float32Array;
    const [, examples] = feeds.shares!.dims as [number, number];
    const { total, best } = await this.#overVocabulary(scored);
    const own = this.#matrix.gather(targets);
    const { width } = this.#matrix;
    const probes = total.length / targets.length;
    const loss = new Float64Array(probes * examples);
    const correct = new Float32Array(probes * examples);
    for (let row = 0; row < total.length; row++) {
      const t = row % targets.length;
      const missed = total[row]! - product(scored, row * width, own, t * width, width);
      const to = ((row - t) / targets.length) * examples;
      for (let e = 0; e < examples; e++) {
        const share = shares[t * examples + e]!;
        if (share === 0) continue;
        loss[to + e]! += share * missed;
        if (best[row] === targets[t]) correct[to + e]! += share;
      }
    }
    return { loss: Float32Array.from(loss), correct };
  }

  /** Log-sum-exp of the scores of all tokens, and the best token (the first of equals), of each row. */
  async #overVocabulary(x: Float32Array): Promise<{ total: Float64Array; best: Int32Array }> {
    const { rows: tokens, width, stored } = this.#matrix;
    const count = x.length / width;
    const total = new Float64Array(count).fill(Number.NEGATIVE_INFINITY);
    const most = new Float64Array(count).fill(Number.NEGATIVE_INFINITY);
    const best = new Int32Array(count);
    const step = Math.max(1, Math.floor(TILE / width));
    const blocks = width / stored.form.size;
    for (let from = 0; from < tokens; from += step) {
      const to = Math.min(tokens, from + step);
      const { codes, scales, least } = this.#matrix.packed(from, to);
      const dims = [to - from, blocks];
      const signed = new Int8Array(codes.buffer, codes.byteOffset, codes.length);
      const part = await this.#tile.run({
        x: { data: x, dims: [count, width] },
        codes: {
          data: stored.form.bits === 8 ? signed : codes,
          dims: [...dims, codes.length / (dims[0]! * blocks)],
        },
        // The runtime takes no memory of half precision from JavaScript.
        scales: { data: new Float32Array(scales), dims },
        ...(least && { least: { data: new Float32Array(least), dims } }),
      });
      for (let row = 0; row < count; row++) {
        total[row] = logAdd(total[row]!, part.total![row]!);
        if (!(part.most![row]! > most[row]!)) continue;
        most[row] = part.most![row]!;
        best[row] = from + part.best![row]!;
      }
    }
    return { total, best };
  }

  async close(): Promise<void> {
    this.#matrix.close();
    await this.#tile.close();
  }
}

/** log(exp(a) + exp(b)); NaN where one is. */
function logAdd(a: number, b: number): number {
  if (a === b) return a + Math.LN2;
  const [more, less] = a > b ? [a, b] : [b, a];
  return more + Math.log1p(Math.exp(less - more));
}

function product(a: Float32Array, at: number, b: Float32Array, bt: number, width: number): number {
  let sum = 0;
  for (let i = 0; i < width; i++) sum += a[at + i]! * b[bt + i]!;
  return sum;
}
