import { BlockWriter, type Hidden } from './block.ts';
import type { BuiltGraph, GraphOptions } from './graph.ts';
import { logits, loss, pool } from './head.ts';
import { OnnxWriter } from './onnx.ts';

/** What a BERT graph depends on, from `config.json`. */
export interface BertConfig {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly intermediate: number;
  readonly vocabulary: number;
  readonly positions: number;
  readonly types: number;
  readonly epsilon: number;
  /** gelu: by the error function. gelu_new: by tanh. */
  readonly activation: 'gelu' | 'gelu_new' | 'relu';
}

/** Modules of a layer whose weights are matrices, by their short names. */
export const BERT_MATRICES = {
  query: 'attention.self.query',
  key: 'attention.self.key',
  value: 'attention.self.value',
  output: 'attention.output.dense',
  up: 'intermediate.dense',
  down: 'output.dense',
} as const;

/**
 * The graph of BERT (Devlin et al. 2019, post-layer-norm encoder), from any layer to any layer, for ONNX Runtime.
 * Segment ids are 0. Exact: the fused operators compute the erf Gelu, nothing is approximated.
 */
export function buildBertGraph(config: BertConfig, options: GraphOptions): BuiltGraph {
  const onnx = new OnnxWriter(options.standalone);
  const bert = new BertWriter(config, options, new BlockWriter(onnx, options));
  bert.write();
  return onnx.finish('bert');
}

class BertWriter {
  readonly #config: BertConfig;
  readonly #options: GraphOptions;
  readonly #block: BlockWriter;
  readonly #onnx: OnnxWriter;

  constructor(config: BertConfig, options: GraphOptions, block: BlockWriter) {
    this.#config = config;
    this.#options = options;
    this.#block = block;
    this.#onnx = block.onnx;
  }

  write(): void {
    const { from, to } = this.#options;
    const onnx = this.#onnx;
    if (from === 'pooled') {
      const given = onnx.input('pooled', 'float32', ['examples', this.#config.hidden]);
      this.#head({ name: onnx.node('Unsqueeze', [given, onnx.ints(0)]), spread: false });
      return;
    }
    const first = from === 'ids' ? 0 : from;
    const last = typeof to === 'object' ? to.layer : this.#config.layers;
    let x = from === 'ids' ? this.#embeddings() : this.#given();
    for (let layer = first; layer < last; layer++) x = this.#layer(layer, x);
    if (typeof to === 'object') this.#hiddenOutput(x);
    else if (to === 'pooled') this.#pooledOutput(pool(this.#block, x, this.#options));
    else this.#head(pool(this.#block, x, this.#options));
  }

  #head(pooled: Hidden): void {
    const { to, labels } = this.#options;
    if (to === 'logits') {
      const scores = logits(this.#block, pooled);
      const name = 'logits';
      if (scores.spread) this.#onnx.node('Identity', [scores.name], { outputs: [name] });
      else this.#onnx.node('Squeeze', [scores.name, this.#onnx.ints(0)], { outputs: [name] });
      const dims = ['examples', labels!];
      this.#onnx.output(name, 'float32', scores.spread ? ['probes', ...dims] : dims);
    } else loss(this.#block, logits(this.#block, pooled), this.#options);
  }

  #flat(x: string): Hidden {
    return {
      name: this.#onnx.node('Reshape', [x, this.#onnx.ints(1, -1, this.#config.hidden)]),
      spread: false,
    };
  }

  #given(): Hidden {
    return this.#flat(this.#onnx.input('hidden', 'float32', ['examples', 'tokens', this.#config.hidden]));
  }

  #embeddings(): Hidden {
    const onnx = this.#onnx;
    const weight = (name: string) => this.#block.weight(`embeddings.${name}`);
    const ids = this.#block.integers('input_ids');
    const segments = onnx.node('Sub', [ids, ids]);
    const tables = [weight('word_embeddings.weight'), weight('position_embeddings.weight')];
    const [sum] = onnx.nodes(
      'EmbedLayerNormalization',
      [
        ids,
        segments,
        ...tables,
        weight('token_type_embeddings.weight'),
        weight('LayerNorm.weight'),
        weight('LayerNorm.bias'),
      ],
      { contrib: true, outputs: 2, attributes: { epsilon: { float: this.#config.epsilon } } },
    );
    return this.#flat(sum!);
  }

  #layer(index: number, x: Hidden): Hidden {
    const block = this.#block;
    const at = `encoder.layer.${index}`;
    const context = this.#attention(at, x);
    const attended = block.linear(`${at}.${BERT_MATRICES.output}`, context);
    const y = this.#addNorm(`${at}.attention.output`, attended, x);
    const up = `${at}.${BERT_MATRICES.up}`;
    const wide = block.linear(up, y);
    const active = { name: this.#activate(wide.name, block.weight(`${up}.bias`)), spread: wide.spread };
    return this.#addNorm(`${at}.output`, block.linear(`${at}.${BERT_MATRICES.down}`, active), y);
  }

  #attention(at: string, x: Hidden): Hidden {
    const onnx = this.#onnx;
    const block = this.#block;
    const names = [BERT_MATRICES.query, BERT_MATRICES.key, BERT_MATRICES.value].map((m) => `${at}.${m}`);
    const made = names.map((name) => block.linear(name, x));
    const spread = made.some((value) => value.spread);
    const shape = [onnx.ints(-1), block.tokens(), onnx.ints(this.#config.hidden)];
    const heads = made.map((value) => block.reshape((spread ? block.spread(value) : value).name, ...shape));
    const bias = this.#joinedBias(at, names);
    const mixed = onnx.node('MultiHeadAttention', [...heads, bias, block.spreadMask(spread)], {
      contrib: true,
      attributes: { num_heads: this.#config.heads },
    });
    const back = [block.groups({ name: '', spread }), onnx.ints(-1), onnx.ints(this.#config.hidden)];
    return { name: block.reshape(mixed, ...back), spread };
  }

  /** The biases of query, key and value in one vector, as the fused operator wants them. */
  #joinedBias(at: string, names: readonly string[]): string {
    const biases = names.map((name) => this.#block.weight(`${name}.bias`));
    return this.#onnx.node('Concat', biases, {
      attributes: { axis: 0 },
      outputs: [`${at}.attention.self.bias`],
    });
  }

  /** LayerNorm(x + skip + bias). */
  #addNorm(at: string, x: Hidden, skip: Hidden): Hidden {
    const block = this.#block;
    // The operator spreads one group of `skip` over the groups of `x`, not the other way round.
    const wide = skip.spread ? block.spread(x) : x;
    const parts = ['LayerNorm.weight', 'LayerNorm.bias', 'dense.bias'].map((name) =>
      block.weight(`${at}.${name}`),
    );
    const name = this.#onnx.node('SkipLayerNormalization', [wide.name, skip.name, ...parts], {
      contrib: true,
      attributes: { epsilon: { float: this.#config.epsilon } },
    });
    return { name, spread: wide.spread };
  }

  #activate(x: string, bias: string): string {
    const onnx = this.#onnx;
    if (this.#config.activation === 'gelu') return onnx.node('BiasGelu', [x, bias], { contrib: true });
    if (this.#config.activation === 'gelu_new') return onnx.node('FastGelu', [x, bias], { contrib: true });
    return onnx.node('Relu', [onnx.node('Add', [x, bias])]);
  }

  #hiddenOutput(x: Hidden): void {
    const block = this.#block;
    const onnx = this.#onnx;
    const tail = [onnx.ints(-1), block.tokens(), onnx.ints(this.#config.hidden)];
    const shape = block.join(...(x.spread ? [block.probes(), ...tail] : tail));
    onnx.node('Reshape', [x.name, shape], { outputs: ['hidden_out'] });
    const dims = ['examples', 'tokens', this.#config.hidden];
    onnx.output('hidden_out', 'float32', x.spread ? ['probes', ...dims] : dims);
  }

  #pooledOutput(x: Hidden): void {
    const onnx = this.#onnx;
    const dims = ['examples', this.#config.hidden];
    if (x.spread) onnx.node('Identity', [x.name], { outputs: ['pooled'] });
    else onnx.node('Reshape', [x.name, onnx.ints(-1, this.#config.hidden)], { outputs: ['pooled'] });
    onnx.output('pooled', 'float32', x.spread ? ['probes', ...dims] : dims);
  }
}
