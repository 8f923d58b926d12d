import type { OnnxWriter } from './onnx.ts';
import { BLOCK, type Place, type Stored } from './stored.ts';

/** Number of TensorProto.DataType. */
const FLOAT = 1;

type Blocks = Extract<Stored, { type: 'blocks' }>;

/** A weight that stays in a file, by its name and [out, in]. */
export interface StoredWeight {
  readonly name: string;
  readonly dims: readonly number[];
  readonly stored: Stored;
}

/** Parts of blocks as initializers. */
function parts(onnx: OnnxWriter, { name, dims, stored }: StoredWeight & { readonly stored: Blocks }) {
  const [rows, width] = dims as [number, number];
  const blocks = width / BLOCK;
  const { bits, codes, scales, zeros } = stored;
  const each = [rows, blocks];
  return {
    codes: onnx.stored(`${name}.codes`, [rows, blocks, bits * 4], 'U8', codes),
    scales: onnx.stored(`${name}.scales`, each, 'F32', scales),
    zeros: zeros === undefined ? undefined : onnx.stored(`${name}.zeros`, each, 'F32', zeros),
  };
}

const wide = (onnx: OnnxWriter, x: string): string => onnx.node('Cast', [x], { attributes: { to: FLOAT } });

/**
 * The whole weight as float32. F16 and BF16 are widened when the graph runs, one weight at a time: what is widened
 * once stays in memory.
 */
export function storedWhole(onnx: OnnxWriter, weight: StoredWeight): string {
  const { name, dims, stored } = weight;
  if (stored.type === 'F32') return onnx.stored(name, dims, 'F32', stored.at);
  if (stored.type !== 'blocks') return wide(onnx, onnx.stored(`${name}.half`, dims, stored.type, stored.at));
  const { codes, scales, zeros } = parts(onnx, { ...weight, stored });
  return opened(onnx, stored.bits, codes, scales, zeros, dims[1]!);
}

/** The runtime widens a whole weight before it multiplies: of larger ones, so many numbers at a time. */
const WIDENED = 1 << 20;

/** x W^T; blocks of 4 and 8 bits by ONNX Runtime's `MatMulNBits`, which has (code - zero) * scale. */
export function storedProduct(onnx: OnnxWriter, weight: StoredWeight, x: string): string {
  const [out, width] = weight.dims as [number, number];
  const count = Math.ceil((out * width) / WIDENED);
  if (count === 1) return product(onnx, weight, x);
  const products = Array.from({ length: count }, (_, i) => {
    const [from, to] = [Math.floor((i * out) / count), Math.floor(((i + 1) * out) / count)];
    return product(onnx, rowsOf(weight, from, to), x);
  });
  return onnx.node('Concat', products, { attributes: { axis: -1 } });
}

/** Some of a weight's rows, where they lie. */
function rowsOf({ name, dims, stored }: StoredWeight, from: number, to: number): StoredWeight {
  const [out, width] = dims as [number, number];
  const cut = ({ path, offset, bytes }: Place): Place => {
    const row = bytes / out;
    return { path, offset: offset + from * row, bytes: (to - from) * row };
  };
  const part = { name: `${name}.${from}`, dims: [to - from, width] };
  if (stored.type !== 'blocks') return { ...part, stored: { ...stored, at: cut(stored.at) } };
  const { codes, scales, zeros } = stored;
  const cuts = { codes: cut(codes), scales: cut(scales), ...(zeros && { zeros: cut(zeros) }) };
  return { ...part, stored: { ...stored, ...cuts } };
}

function product(onnx: OnnxWriter, weight: StoredWeight, x: string): string {
  const { dims, stored } = weight;
  const [out, width] = dims as [number, number];
  if (stored.type !== 'blocks') {
    const attributes = { transB: 1 };
    return onnx.node('FusedMatMul', [x, storedWhole(onnx, weight)], { contrib: true, attributes });
  }
  const { codes, scales, zeros } = parts(onnx, { ...weight, stored });
  const inputs = [x, codes, scales];
  if (zeros !== undefined) inputs.push(zeros);
  return onnx.node('MatMulNBits', inputs, {
    contrib: true,
    attributes: { K: width, N: out, bits: stored.bits, block_size: BLOCK },
  });
}

/** Some rows: ids of any shape [...] to [..., width]. */
export function storedRows(onnx: OnnxWriter, weight: StoredWeight, ids: string): string {
  const { name, dims, stored } = weight;
  const gather = (x: string) => onnx.node('Gather', [x, ids]);
  if (stored.type === 'F32') return gather(storedWhole(onnx, weight));
  if (stored.type !== 'blocks')
    return wide(onnx, gather(onnx.stored(`${name}.half`, dims, stored.type, stored.at)));
  const { codes, scales, zeros } = parts(onnx, { ...weight, stored });
  return opened(onnx, stored.bits, gather(codes), gather(scales), zeros && gather(zeros), dims[1]!);
}

/** Codes [..., blocks, bytes] with their scales [..., blocks] to weights [..., width]. */
function opened(
  onnx: OnnxWriter,
  bits: 4 | 8,
  codes: string,
  scales: string,
  zeros: string | undefined,
  width: number,
): string {
  const last = onnx.ints(-1);
  const each = (x: string) => onnx.node('Unsqueeze', [x, last]);
  const code = wide(onnx, bits === 8 ? codes : halves(onnx, codes));
  const zero = zeros === undefined ? onnx.float(2 ** (bits - 1)) : each(zeros);
  const value = onnx.node('Mul', [onnx.node('Sub', [code, zero]), each(scales)]);
  const leading = onnx.node('Shape', [scales], { attributes: { end: -1 } });
  const shape = onnx.node('Concat', [leading, onnx.ints(width)], { attributes: { axis: 0 } });
  return onnx.node('Reshape', [value, shape]);
}

/** Two codes of 4 bits out of each byte: [..., blocks, 16] to [..., blocks, 32]. */
function halves(onnx: OnnxWriter, bytes: string): string {
  const last = onnx.ints(-1);
  const low = onnx.node('BitwiseAnd', [bytes, onnx.byte(15)]);
  const high = onnx.node('BitShift', [bytes, onnx.byte(4)], { attributes: { direction: 'RIGHT' } });
  const pairs = [low, high].map((x) => onnx.node('Unsqueeze', [x, last]));
  const both = onnx.node('Concat', pairs, { attributes: { axis: -1 } });
  const leading = onnx.node('Shape', [bytes], { attributes: { end: -1 } });
  const shape = onnx.node('Concat', [leading, onnx.ints(BLOCK)], { attributes: { axis: 0 } });
  return onnx.node('Reshape', [both, shape]);
}
