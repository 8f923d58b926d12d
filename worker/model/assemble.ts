import type { BlockWriter, Hidden } from './block.ts';
import type { GraphOptions } from './graph.ts';
import { logits, loss, pool } from './head.ts';
import { tokenLoss, wordLogits } from './token-head.ts';

/** What a family's graph is made of; values keep the shape of `Hidden`. */
export interface FamilyParts {
  readonly layers: number;
  readonly hidden: number;
  /** `input_ids` to the input of layer 0. */
  embed(): Hidden;
  layer(index: number, x: Hidden): Hidden;
  /** What follows the last layer, row by row: a norm; or nothing. */
  last(x: Hidden): Hidden;
  /** Rows to what the matrix of tokens is multiplied with, its name and its bias; absent where there is none. */
  readonly tokens?: {
    readonly matrix: string;
    readonly bias?: string;
    prepare(x: Hidden): Hidden;
  };
}

/** Writes a graph from any layer to any layer or to an end that is the same for all families. */
export function assemble(block: BlockWriter, parts: FamilyParts, options: GraphOptions): void {
  const { onnx } = block;
  const { from, to, end = 'head' } = options;
  if (from === 'pooled') {
    const given = onnx.input('pooled', 'float32', ['examples', parts.hidden]);
    finish(block, { name: onnx.node('Unsqueeze', [given, onnx.ints(0)]), spread: false }, options);
    return;
  }
  const until = typeof to === 'object' ? to.layer : parts.layers;
  let x = from === 'ids' ? parts.embed() : given(block, parts);
  for (let layer = from === 'ids' ? 0 : from; layer < until; layer++) x = parts.layer(layer, x);
  if (typeof to === 'object') hiddenOutput(block, parts, x);
  else if (to !== 'pooled' && end === 'tokens') tokenLoss(block, parts, x, options);
  else {
    const pooled = featuresOf(block, parts, x, options);
    if (to === 'pooled') pooledOutput(block, parts, pooled);
    else finish(block, pooled, options, parts);
  }
}

/** One row of each example: pooled, or the one that `positions` names. */
function featuresOf(block: BlockWriter, parts: FamilyParts, x: Hidden, options: GraphOptions): Hidden {
  if (options.end === 'words') return parts.last(block.rowsAt(x, 'examples'));
  return pool(block, parts.last(x), options);
}

function finish(block: BlockWriter, pooled: Hidden, options: GraphOptions, parts?: FamilyParts): void {
  const { onnx } = block;
  const words = options.end === 'words' && parts !== undefined;
  const scores = words ? wordLogits(block, parts, pooled, options) : logits(block, pooled);
  if (options.to === 'loss') {
    loss(block, scores, options);
    return;
  }
  if (scores.spread) onnx.node('Identity', [scores.name], { outputs: ['logits'] });
  else onnx.node('Squeeze', [scores.name, onnx.ints(0)], { outputs: ['logits'] });
  const dims = ['examples', options.labels!];
  onnx.output('logits', 'float32', scores.spread ? ['probes', ...dims] : dims);
}

function given(block: BlockWriter, { hidden }: FamilyParts): Hidden {
  const { onnx } = block;
  const input = onnx.input('hidden', 'float32', ['examples', 'tokens', hidden]);
  return { name: onnx.node('Reshape', [input, onnx.ints(1, -1, hidden)]), spread: false };
}

function hiddenOutput(block: BlockWriter, { hidden }: FamilyParts, x: Hidden): void {
  const { onnx } = block;
  const tail = [onnx.ints(-1), block.tokens(), onnx.ints(hidden)];
  const shape = block.join(...(x.spread ? [block.probes(), ...tail] : tail));
  onnx.node('Reshape', [x.name, shape], { outputs: ['hidden_out'] });
  const dims = ['examples', 'tokens', hidden];
  onnx.output('hidden_out', 'float32', x.spread ? ['probes', ...dims] : dims);
}

function pooledOutput(block: BlockWriter, { hidden }: FamilyParts, x: Hidden): void {
  const { onnx } = block;
  const dims = ['examples', hidden];
  if (x.spread) onnx.node('Identity', [x.name], { outputs: ['pooled'] });
  else onnx.node('Reshape', [x.name, onnx.ints(-1, hidden)], { outputs: ['pooled'] });
  onnx.output('pooled', 'float32', x.spread ? ['probes', ...dims] : dims);
}
