import type { BertConfig } from '../../worker/model/bert.ts';
import type { Weights } from '../../worker/model/tensor.ts';

/**
 * BERT's forward pass in plain doubles, one example at a time and without padding: slow, and written from the paper
 * (Devlin et al. 2019; Vaswani et al. 2017) and not from the graph.
 */
type Row = Float64Array;

/** erf by its Taylor series, and by the continued fraction of erfc (Lentz) from 2.5 on. */
export function erf(x: number): number {
  const z = Math.abs(x);
  if (z < 2.5) {
    let term = z;
    let sum = z;
    for (let n = 1; n < 80; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction));
}

const gelu = (x: number): number => (x * (1 + erf(x / Math.SQRT2))) / 2;

function norm(x: Row, gain: ArrayLike<number>, shift: ArrayLike<number>, epsilon: number): Row {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
  const scale = 1 / Math.sqrt(variance + epsilon);
  return x.map((value, i) => (value - mean) * scale * gain[i]! + shift[i]!);
}

function linear(x: Row, weight: Float32Array, bias: Float32Array): Row {
  return Float64Array.from(bias, (start, o) => {
    let sum = start;
    const at = o * x.length;
    for (let i = 0; i < x.length; i++) sum += x[i]! * weight[at + i]!;
    return sum;
  });
}

export function softmax(x: Row): Row {
  const top = Math.max(...x);
  const powers = x.map((value) => Math.exp(value - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

export class ReferenceBert {
  readonly #config: BertConfig;
  readonly #weights: Weights;

  constructor(config: BertConfig, weights: Weights) {
    this.#config = config;
    this.#weights = weights;
  }

  /** The input of every layer, and the last hidden state: `layers + 1` lists of rows, a row for each token. */
  hidden(ids: ArrayLike<number>): Row[][] {
    const states = [this.#embed(ids)];
    for (let layer = 0; layer < this.#config.layers; layer++) states.push(this.layer(layer, states[layer]!));
    return states;
  }

  pooled(ids: ArrayLike<number>, pooling: 'mean' | 'cls'): Row {
    const last = this.hidden(ids).at(-1)!;
    if (pooling === 'cls') return last[0]!;
    return last[0]!.map((_, i) => last.reduce((sum, row) => sum + row[i]!, 0) / last.length);
  }

  #get(name: string): Float32Array {
    return this.#weights.get(name)!.data;
  }

  #linear(name: string, x: Row): Row {
    return linear(x, this.#get(`${name}.weight`), this.#get(`${name}.bias`));
  }

  #norm(name: string, x: Row): Row {
    return norm(x, this.#get(`${name}.weight`), this.#get(`${name}.bias`), this.#config.epsilon);
  }

  #embed(ids: ArrayLike<number>): Row[] {
    const { hidden } = this.#config;
    const word = this.#get('embeddings.word_embeddings.weight');
    const position = this.#get('embeddings.position_embeddings.weight');
    const segment = this.#get('embeddings.token_type_embeddings.weight');
    return Array.from(ids, (id, t) => {
      const sum = Float64Array.from(
        { length: hidden },
        (_, i) => word[id * hidden + i]! + position[t * hidden + i]! + segment[i]!,
      );
      return this.#norm('embeddings.LayerNorm', sum);
    });
  }

  layer(index: number, x: Row[]): Row[] {
    const at = `encoder.layer.${index}`;
    const mixed = this.#attention(`${at}.attention.self`, x);
    return x.map((row, t) => {
      const attended = this.#linear(`${at}.attention.output.dense`, mixed[t]!);
      const y = this.#norm(
        `${at}.attention.output.LayerNorm`,
        attended.map((value, i) => value + row[i]!),
      );
      const wide = this.#linear(`${at}.intermediate.dense`, y).map(gelu);
      const down = this.#linear(`${at}.output.dense`, wide);
      return this.#norm(
        `${at}.output.LayerNorm`,
        down.map((value, i) => value + y[i]!),
      );
    });
  }

  #attention(at: string, x: Row[]): Row[] {
    const { hidden, heads } = this.#config;
    const size = hidden / heads;
    const query = x.map((row) => this.#linear(`${at}.query`, row));
    const key = x.map((row) => this.#linear(`${at}.key`, row));
    const value = x.map((row) => this.#linear(`${at}.value`, row));
    return query.map((q) => {
      const out = new Float64Array(hidden);
      for (let head = 0; head < heads; head++) {
        const from = head * size;
        const scores = Float64Array.from(key, (k) => {
          let dot = 0;
          for (let i = from; i < from + size; i++) dot += q[i]! * k[i]!;
          return dot / Math.sqrt(size);
        });
        const share = softmax(scores);
        for (let i = from; i < from + size; i++) out[i] = value.reduce((s, v, t) => s + share[t]! * v[i]!, 0);
      }
      return out;
    });
  }
}

/** Cross-entropy in nats of one example under a head [labels, hidden]. */
export function referenceLoss(pooled: Row, weight: Float32Array, bias: Float32Array, label: number): number {
  return -Math.log(softmax(linear(pooled, weight, bias))[label]!);
}
