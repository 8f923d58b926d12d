import { assemble, type FamilyParts } from './assemble.ts';
import { BlockWriter, type Hidden } from './block.ts';
import type { BuiltGraph, GraphOptions } from './graph.ts';
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

/** The head of BERT's pre-training, which predicts hidden tokens; it shares the matrix of the embeddings. */
export const GAP_HEAD = 'cls.predictions';
const WORDS = 'embeddings.word_embeddings';

/**
 * The graph of BERT (Devlin et al. 2019, post-layer-norm encoder), from any layer to any layer, for ONNX Runtime.
 * Segment ids are 0. Exact: the fused operators compute the erf Gelu, nothing is approximated.
 */
export function buildBertGraph(config: BertConfig, options: GraphOptions): BuiltGraph {
  const onnx = new OnnxWriter(options.standalone);
  const block = new BlockWriter(onnx, options);
  assemble(block, new BertWriter(config, block), options);
  return onnx.finish('bert');
}

class BertWriter implements FamilyParts {
  readonly layers: number;
  readonly hidden: number;
  readonly tokens: NonNullable<FamilyParts['tokens']>;
  readonly #config: BertConfig;
  readonly #block: BlockWriter;
  readonly #onnx: OnnxWriter;

  constructor(config: BertConfig, block: BlockWriter) {
    this.layers = config.layers;
    this.hidden = config.hidden;
    const bias = `${GAP_HEAD}.bias`;
    this.tokens = { matrix: WORDS, bias, prepare: (x) => this.#transform(x) };
    this.#config = config;
    this.#block = block;
    this.#onnx = block.onnx;
  }

  #flat(x: string): Hidden {
    return {
      name: this.#onnx.node('Reshape', [x, this.#onnx.ints(1, -1, this.#config.hidden)]),
      spread: false,
    };
  }

  embed(): Hidden {
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

  last(x: Hidden): Hidden {
    return x;
  }

  layer(index: number, x: Hidden): Hidden {
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

  /** Dense, activation, norm: what stands before the matrix of tokens. */
  #transform(x: Hidden): Hidden {
    const block = this.#block;
    const at = `${GAP_HEAD}.transform`;
    const dense = block.linear(`${at}.dense`, x);
    const parts = ['LayerNorm.weight', 'LayerNorm.bias'].map((name) => block.weight(`${at}.${name}`));
    const active = this.#activate(dense.name, block.weight(`${at}.dense.bias`));
    const name = this.#onnx.node('LayerNormalization', [active, ...parts], {
      attributes: { axis: -1, epsilon: { float: this.#config.epsilon } },
    });
    return { name, spread: dense.spread };
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
}
