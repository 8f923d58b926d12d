import type { BlockWriter, Hidden } from './block.ts';
import type { GraphOptions } from './graph.ts';

const FLOAT = 1;
const INT64 = 7;

/**
 * Features of an example: the mean over its unmasked tokens, or its first token.
 * [groups, examples * tokens, hidden] to [groups, examples, hidden].
 */
export function pool(block: BlockWriter, x: Hidden, options: GraphOptions): Hidden {
  const { onnx } = block;
  const shape = [block.groups(x), onnx.ints(-1), block.tokens(), onnx.ints(options.hidden)];
  const rows = block.reshape(x.name, ...shape);
  const squeezed = { attributes: { keepdims: 0 } };
  if (options.pooling === 'cls') {
    const first = onnx.node('Gather', [rows, onnx.scalar(0)], { attributes: { axis: 2 } });
    return { name: first, spread: x.spread };
  }
  // A product with the mask's row sums the tokens without writing the masked hidden state.
  const mask = block.floatMask();
  const count = onnx.node('ReduceSum', [mask, onnx.ints(1)], { attributes: { keepdims: 1 } });
  const share = onnx.node('Div', [mask, onnx.node('Max', [count, onnx.float(1)])]);
  const mean = onnx.node('MatMul', [onnx.node('Unsqueeze', [share, onnx.ints(1)]), rows]);
  return { name: onnx.node('ReduceSum', [mean, onnx.ints(2)], squeezed), spread: x.spread };
}

/** pooled [groups, examples, hidden] to logits [probes, examples, labels]; one group if all is frozen. */
export function logits(block: BlockWriter, pooled: Hidden): Hidden {
  const { onnx } = block;
  const weight = block.headWeight();
  const product = onnx.node('FusedMatMul', [pooled.name, weight.name], {
    contrib: true,
    attributes: { transB: 1 },
  });
  const name = onnx.node('Add', [product, block.headBias()]);
  return { name, spread: pooled.spread || !weight.frozen };
}

/**
 * Cross-entropy by log-sum-exp in fp32, which logit is the largest, and whether that is the label's.
 * Outputs `loss`, `correct` and `best` [probes, examples].
 */
export function loss(block: BlockWriter, scores: Hidden, options: GraphOptions): void {
  const { onnx } = block;
  const labels = onnx.input('labels', 'int32', ['examples']);
  const wide = onnx.node('Cast', [labels], { attributes: { to: INT64 } });
  const column = onnx.node('Unsqueeze', [wide, onnx.ints(1)]);
  const classes = onnx.ints(...Array.from({ length: options.labels! }, (_, i) => i));
  const hot = onnx.node('Cast', [onnx.node('Equal', [column, classes])], { attributes: { to: FLOAT } });

  const last = onnx.ints(2);
  const kept = { attributes: { keepdims: 1 } };
  const shifted = onnx.node('Sub', [scores.name, onnx.node('ReduceMax', [scores.name, last], kept)]);
  const total = onnx.node('ReduceSum', [onnx.node('Exp', [shifted]), last], { attributes: { keepdims: 0 } });
  const own = onnx.node('ReduceSum', [onnx.node('Mul', [shifted, hot]), last], {
    attributes: { keepdims: 0 },
  });
  onnx.node('Sub', [onnx.node('Log', [total]), own], { outputs: ['loss'] });
  onnx.output('loss', 'float32', ['probes', 'examples']);

  const best = onnx.node('ArgMax', [scores.name], { attributes: { axis: 2, keepdims: 0 } });
  const hit = onnx.node('Equal', [best, wide]);
  onnx.node('Cast', [hit], { attributes: { to: FLOAT }, outputs: ['correct'] });
  onnx.output('correct', 'float32', ['probes', 'examples']);
  onnx.node('Cast', [best], { attributes: { to: FLOAT }, outputs: ['best'] });
  onnx.output('best', 'float32', ['probes', 'examples']);
}
