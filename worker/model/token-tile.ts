import type { BuiltGraph } from './graph.ts';
import { OnnxWriter } from './onnx.ts';
import { type Blocks, opened, TRANSPOSED } from './stored-graph.ts';
import { overTokens } from './token-head.ts';

/**
 * Scores of some tokens of the vocabulary, whose blocks are inputs: so the runtime has neither a copy nor a map of the
 * matrix of tokens, which in a small model is a third of all weights.
 *
 * Inputs `x` float32 [rows, width]; `codes` [tokens, blocks, bytes], float32 `scales` and maybe `least` [tokens,
 * blocks], as in `Stored`. Outputs [rows, 1]: `total`, the log-sum-exp of the tokens' scores, `most`, the largest of
 * them, and `best`, int32, its token (the first of equals), counted from the first one given.
 */
export function buildTokenTile({ form }: Pick<Blocks, 'form'>, width: number, least: boolean): BuiltGraph {
  const onnx = new OnnxWriter();
  const each = ['tokens', width / form.size];
  const x = onnx.input('x', 'float32', ['rows', width]);
  const codes = onnx.input('codes', form.bits === 8 ? 'int8' : 'uint8', [
    ...each,
    (form.size * form.bits) / 8,
  ]);
  const scales = onnx.input('scales', 'float32', each);
  const low = least ? onnx.input('least', 'float32', each) : undefined;
  const weight = opened(onnx, { form: { ...form, scales: 'F32' } }, codes, scales, low, onnx.ints(-1, width));
  const { total, most, best } = overTokens(onnx, onnx.node('FusedMatMul', [x, weight], TRANSPOSED));
  for (const [name, value] of [
    ['total', total],
    ['most', most],
  ] as const) {
    onnx.node('Identity', [value], { outputs: [name] });
    onnx.output(name, 'float32', ['rows', 1]);
  }
  onnx.node('Cast', [best], { attributes: { to: INT32 }, outputs: ['best'] });
  onnx.output('best', 'int32', ['rows', 1]);
  return onnx.finish('tokens');
}

/** Number of TensorProto.DataType. */
const INT32 = 6;
