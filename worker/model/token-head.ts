import { OnebyteError } from '../errors.ts';
import type { FamilyParts } from './assemble.ts';
import type { BlockWriter, Hidden } from './block.ts';
import type { GraphOptions } from './graph.ts';

const FLOAT = 1;
const INT64 = 7;

function tokensOf(parts: FamilyParts): NonNullable<FamilyParts['tokens']> {
  if (parts.tokens === undefined) throw new OnebyteError('INTERNAL', 'the model has no output over tokens');
  return parts.tokens;
}

/**
 * Scores of single tokens, the words that stand for the labels: [groups, examples, hidden] to
 * [groups, examples, labels]. The rest of the vocabulary is left out: it cancels in a choice among the words.
 */
export function wordLogits(block: BlockWriter, parts: FamilyParts, x: Hidden, options: GraphOptions): Hidden {
  const { onnx } = block;
  const { matrix, bias, prepare } = tokensOf(parts);
  const words = onnx.ints(...options.words!);
  const rows = block.rows(`${matrix}.weight`, words);
  const product = onnx.node('FusedMatMul', [prepare(x).name, rows], {
    contrib: true,
    attributes: { transB: 1 },
  });
  if (bias === undefined) return { name: product, spread: x.spread };
  const own = onnx.node('Gather', [block.weight(bias), words]);
  return { name: onnx.node('Add', [product, own]), spread: x.spread };
}

/**
 * Cross-entropy of chosen tokens over the whole vocabulary, by log-sum-exp in fp32. Only the rows that predict one of
 * them are multiplied with the matrix of tokens.
 *
 * Inputs `positions`, `targets` int32 [scored]: the row (of examples * tokens) that predicts a token, and the token;
 * `shares` float32 [scored, examples]: 1 where a token is an example's. Outputs `loss` and `correct`
 * [probes, examples]: sums over an example's tokens.
 */
export function tokenLoss(block: BlockWriter, parts: FamilyParts, x: Hidden, options: GraphOptions): void {
  const { onnx } = block;
  const { matrix, bias, prepare } = tokensOf(parts);
  const { to } = options;
  const h = prepare(parts.last(options.standalone ? x : block.rowsAt(x, 'scored')));
  let scores = block.project(`${matrix}.weight`, h.name);
  if (bias !== undefined) scores = onnx.node('Add', [scores, block.weight(bias)]);
  if (to === 'logits') {
    writeLogits(block, parts, scores, options);
    return;
  }
  const targets = onnx.input('targets', 'int32', ['scored']);
  const shares = onnx.input('shares', 'float32', ['scored', 'examples']);
  const wide = onnx.node('Cast', [targets], { attributes: { to: INT64 } });
  // The runtime has no fast log-sum-exp, but a fast log-softmax: their difference is the same in every column.
  const first = (of: string) => onnx.node('Gather', [of, onnx.scalar(0)], { attributes: { axis: -1 } });
  const log = onnx.node('LogSoftmax', [scores], { attributes: { axis: -1 } });
  const total = onnx.node('Sub', [first(scores), first(log)]);
  const own = block.rows(`${matrix}.weight`, targets);
  let hit = onnx.node('ReduceSum', [onnx.node('Mul', [h.name, own]), onnx.ints(-1)], {
    attributes: { keepdims: 0 },
  });
  if (bias !== undefined) hit = onnx.node('Add', [hit, onnx.node('Gather', [block.weight(bias), targets])]);
  const losses = onnx.node('Sub', [total, hit]);
  onnx.node('MatMul', [losses, shares], { outputs: ['loss'] });
  onnx.output('loss', 'float32', ['probes', 'examples']);
  const best = onnx.node('ArgMax', [scores], { attributes: { axis: -1, keepdims: 0 } });
  const same = onnx.node('Cast', [onnx.node('Equal', [best, wide])], { attributes: { to: FLOAT } });
  onnx.node('MatMul', [same, shares], { outputs: ['correct'] });
  onnx.output('correct', 'float32', ['probes', 'examples']);
}

/** [probes, scored, vocabulary]; in a file that stands alone all rows, [examples, tokens, vocabulary]. */
function writeLogits(block: BlockWriter, parts: FamilyParts, scores: string, options: GraphOptions): void {
  const { onnx } = block;
  const width = options.weights.get(`${tokensOf(parts).matrix}.weight`)!.dims[0]!;
  if (!options.standalone) {
    onnx.node('Identity', [scores], { outputs: ['logits'] });
    onnx.output('logits', 'float32', ['probes', 'scored', width]);
    return;
  }
  const shape = block.join(onnx.ints(-1), block.tokens(), onnx.ints(width));
  onnx.node('Reshape', [scores, shape], { outputs: ['logits'] });
  onnx.output('logits', 'float32', ['examples', 'tokens', width]);
}
