import { assemble, type FamilyParts } from './assemble.ts';
import { BlockWriter, type Hidden } from './block.ts';
import type { BuiltGraph, GraphOptions } from './graph.ts';
import { type LlamaConfig, ropeFrequencies } from './llama-config.ts';
import { OnnxWriter } from './onnx.ts';
import type { TensorView } from './tensor.ts';

/** Modules of a layer whose weights are matrices, by their short names. */
export const LLAMA_MATRICES = {
  query: 'self_attn.q_proj',
  key: 'self_attn.k_proj',
  value: 'self_attn.v_proj',
  output: 'self_attn.o_proj',
  gate: 'mlp.gate_proj',
  up: 'mlp.up_proj',
  down: 'mlp.down_proj',
} as const;

export const EMBEDDINGS = 'model.embed_tokens';
export const HEAD = 'lm_head';

/** Name of the matrix that scores tokens. */
export function tokenMatrix({ tied }: LlamaConfig): string {
  return tied ? EMBEDDINGS : HEAD;
}

/** Cosine and sine of each pair's angle at each position, [positions, headWidth / 2] each. */
interface Angles {
  readonly cos: TensorView;
  readonly sin: TensorView;
}

/** Longest text that a job may ask for. */
const LONGEST = 8192;

function anglesOf(config: LlamaConfig, longest = LONGEST): Angles {
  const frequencies = ropeFrequencies(config);
  const positions = Math.min(config.positions, longest);
  const half = frequencies.length;
  const table = (f: (x: number) => number): TensorView => ({
    dims: [positions, half],
    data: Float32Array.from({ length: positions * half }, (_, i) =>
      f(Math.floor(i / half) * frequencies[i % half]!),
    ),
  });
  return { cos: table(Math.cos), sin: table(Math.sin) };
}

/**
 * The graph of the Llama family (Touvron et al. 2023: norms before each part, rotary positions, gated
 * feed-forward; grouped queries: Ainslie et al. 2023), from any layer to any layer, for ONNX Runtime. Padding stands
 * at the end of a text, where nothing that counts can see it, so the mask has no part in the attention.
 */
export function buildLlamaGraph(config: LlamaConfig, options: GraphOptions): BuiltGraph {
  const onnx = new OnnxWriter(options.standalone);
  const block = new BlockWriter(onnx, options);
  assemble(block, new LlamaWriter(config, anglesOf(config, options.longest), block), options);
  return onnx.finish('llama');
}

class LlamaWriter implements FamilyParts {
  readonly layers: number;
  readonly hidden: number;
  readonly tokens: NonNullable<FamilyParts['tokens']>;
  readonly #config: LlamaConfig;
  readonly #angles: Angles;
  readonly #block: BlockWriter;
  readonly #onnx: OnnxWriter;

  constructor(config: LlamaConfig, angles: Angles, block: BlockWriter) {
    this.layers = config.layers;
    this.hidden = config.hidden;
    this.tokens = { matrix: tokenMatrix(config), prepare: (x) => x };
    this.#config = config;
    this.#angles = angles;
    this.#block = block;
    this.#onnx = block.onnx;
  }

  embed(): Hidden {
    const block = this.#block;
    const rows = block.rows(`${EMBEDDINGS}.weight`, block.integers('input_ids'));
    return { name: this.#onnx.node('Reshape', [rows, this.#onnx.ints(1, -1, this.hidden)]), spread: false };
  }

  layer(index: number, x: Hidden): Hidden {
    const at = `model.layers.${index}`;
    const attended = this.#attention(at, this.#norm(`${at}.input_layernorm`, x));
    const y = this.#add(x, attended);
    return this.#add(y, this.#feedForward(at, this.#norm(`${at}.post_attention_layernorm`, y)));
  }

  last(x: Hidden): Hidden {
    return this.#norm('model.norm', x);
  }

  #feedForward(at: string, x: Hidden): Hidden {
    const block = this.#block;
    const onnx = this.#onnx;
    const gate = block.linear(`${at}.${LLAMA_MATRICES.gate}`, x);
    const up = block.linear(`${at}.${LLAMA_MATRICES.up}`, x);
    // x * sigmoid(x).
    const open = onnx.node('QuickGelu', [gate.name], { contrib: true, attributes: { alpha: { float: 1 } } });
    const spread = gate.spread || up.spread;
    const mixed = { name: onnx.node('Mul', [open, up.name]), spread };
    return block.linear(`${at}.${LLAMA_MATRICES.down}`, mixed);
  }

  #attention(at: string, x: Hidden): Hidden {
    const block = this.#block;
    const onnx = this.#onnx;
    const { heads, kvHeads, headWidth, qkNorm, outputBias } = this.#config;
    const made = (['query', 'key', 'value'] as const).map((kind) => {
      const name = `${at}.${LLAMA_MATRICES[kind]}`;
      return this.#config.qkvBias ? this.#biased(name, block.linear(name, x)) : block.linear(name, x);
    });
    const spread = made.some((value) => value.spread);
    const widths = [heads, kvHeads, kvHeads].map((n) => n * headWidth);
    const [query, key, value] = made.map((part, i) => {
      const whole = spread ? block.spread(part) : part;
      const norm = `${at}.self_attn.${i === 0 ? 'q' : 'k'}_norm`;
      const name = qkNorm && i < 2 ? this.#headNorm(norm, whole) : whole.name;
      return block.reshape(name, onnx.ints(-1), block.tokens(), onnx.ints(widths[i]!));
    });
    const { cos, sin } = this.#angles;
    const [mixed] = onnx.nodes(
      'GroupQueryAttention',
      [
        query!,
        key!,
        value!,
        '',
        '',
        this.#lengths(spread),
        block.tokenCount(),
        onnx.weight('rope.cos', cos),
        onnx.weight('rope.sin', sin),
      ],
      { contrib: true, outputs: 3, attributes: { num_heads: heads, kv_num_heads: kvHeads, do_rotary: 1 } },
    );
    const back = [block.groups({ name: '', spread }), onnx.ints(-1), onnx.ints(heads * headWidth)];
    const name = `${at}.${LLAMA_MATRICES.output}`;
    const out = block.linear(name, { name: block.reshape(mixed!, ...back), spread });
    return outputBias ? this.#biased(name, out) : out;
  }

  /** Tokens of each text less one, as the fused operator wants them: int32 [groups * examples]. */
  #lengths(spread: boolean): string {
    const block = this.#block;
    const onnx = this.#onnx;
    return block.once(spread ? 'lengths_spread' : 'lengths', () => {
      const mask = block.spreadMask(spread);
      const count = onnx.node('Shape', [mask], { attributes: { start: 0, end: 1 } });
      const less = onnx.node('Sub', [block.tokenCount(), onnx.int32(1)]);
      return onnx.node('Expand', [less, count]);
    });
  }

  #biased(matrix: string, x: Hidden): Hidden {
    return { name: this.#onnx.node('Add', [x.name, this.#block.weight(`${matrix}.bias`)]), spread: x.spread };
  }

  #add(a: Hidden, b: Hidden): Hidden {
    return { name: this.#onnx.node('Add', [a.name, b.name]), spread: a.spread || b.spread };
  }

  /** x / sqrt(mean x^2 + epsilon) * weight (Zhang and Sennrich 2019). */
  #norm(at: string, x: Hidden): Hidden {
    return { name: this.#rms(x.name, `${at}.weight`), spread: x.spread };
  }

  /** The same over each head alone. */
  #headNorm(at: string, x: Hidden): string {
    const onnx = this.#onnx;
    const shape = [onnx.ints(-1), onnx.ints(this.#config.headWidth)];
    return this.#rms(this.#block.reshape(x.name, ...shape), `${at}.weight`);
  }

  #rms(x: string, weight: string): string {
    return this.#onnx.node('SimplifiedLayerNormalization', [x, this.#block.weight(weight)], {
      attributes: { axis: -1, epsilon: { float: this.#config.epsilon } },
    });
  }
}
