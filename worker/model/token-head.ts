import { OnebyteError } from '../errors.ts';
import type { FamilyParts } from './assemble.ts';
import type { BlockWriter, Hidden } from './block.ts';
import type { GraphOptions } from './graph.ts';
import type { OnnxWriter } from './onnx.ts';
import { TRANSPOSED } from './stored-graph.ts';

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
  const product = onnx.node('FusedMatMul', [prepare(x).name, rows], TRANSPOSED);
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
  if (to === 'logits') {
    let scores = block.project(`${matrix}.weight`, h.name);
    if (bias !== undefined) scores = onnx.node('Add', [scores, block.weight(bias)]);
    writeLogits(block, parts, scores, options);
    return;
  }
  if (to === 'scored') {
    onnx.node('Identity', [h.name], { outputs: ['scored'] });
    onnx.output('scored', 'float32', ['probes', 'scored', parts.hidden]);
    return;
  }
  const targets = onnx.input('targets', 'int32', ['scored']);
  const shares = onnx.input('shares', 'float32', ['scored', 'examples']);
  const { total, best } = overVocabulary(block, `${matrix}.weight`, h.name, bias);
  const own = block.rows(`${matrix}.weight`, targets);
  let hit = onnx.node('ReduceSum', [onnx.node('Mul', [h.name, own]), onnx.ints(-1)], {
    attributes: { keepdims: 0 },
  });
  if (bias !== undefined) hit = onnx.node('Add', [hit, onnx.node('Gather', [block.weight(bias), targets])]);
  const losses = onnx.node('Sub', [total, hit]);
  onnx.node('MatMul', [losses, shares], { outputs: ['loss'] });
  onnx.output('loss', 'float32', ['probes', 'examples']);
  const wide = onnx.node('Cast', [targets], { attributes: { to: INT64 } });
  const same = onnx.node('Cast', [onnx.node('Equal', [best, wide])], { attributes: { to: FLOAT } });
  onnx.node('MatMul', [same, shares], { outputs: ['correct'] });
  onnx.output('correct', 'float32', ['probes', 'examples']);
}

/**
 * Log-sum-exp of the scores of all tokens, and the best token (the first of equals): [groups, scored] each. The scores
 * of a part of the vocabulary live at a time: over 49,152 tokens those of 1,000 rows have 190 MiB.
 */
function overVocabulary(
  block: BlockWriter,
  weight: string,
  x: string,
  bias: string | undefined,
): { total: string; best: string } {
  const { onnx } = block;
  const parts = block.tiles(weight, x, bias).map(({ from, project }) => {
    const { total, most, best } = overTokens(onnx, project());
    return { total, most, best: onnx.node('Add', [best, onnx.scalar(from)]) };
  });
  const join = (values: string[]) =>
    values.length === 1 ? values[0]! : onnx.node('Concat', values, { attributes: { axis: -1 } });
  const narrow = (value: string) => onnx.node('Squeeze', [value, onnx.ints(-1)]);
  const total = join(parts.map((part) => part.total));
  const best = join(parts.map((part) => part.best));
  if (parts.length === 1) return { total: narrow(total), best: narrow(best) };
  const most = join(parts.map((part) => part.most));
  const which = onnx.node('ArgMax', [most], { attributes: { axis: -1, keepdims: 1 } });
  const chosen = onnx.node('GatherElements', [best, which], { attributes: { axis: -1 } });
  return { total: narrow(logSumExp(onnx, total)), best: narrow(chosen) };
}

/** Scores [..., n]: their log-sum-exp, the largest and its place, [..., 1] each. */
export function overTokens(onnx: OnnxWriter, scores: string): { total: string; most: string; best: string } {
  const best = onnx.node('ArgMax', [scores], { attributes: { axis: -1, keepdims: 1 } });
  const most = onnx.node('GatherElements', [scores, best], { attributes: { axis: -1 } });
  return { total: logSumExp(onnx, scores), most, best };
}

/** [..., n] to [..., 1]. */
function logSumExp(onnx: OnnxWriter, scores: string): string {
  // The runtime has no fast log-sum-exp, but a fast log-softmax: their difference is the same in every column.
  const first = (of: string) => onnx.node('Gather', [of, onnx.ints(0)], { attributes: { axis: -1 } });
  const log = onnx.node('LogSoftmax', [scores], { attributes: { axis: -1 } });
  return onnx.node('Sub', [first(scores), first(log)]);
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
