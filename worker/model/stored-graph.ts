import type { OnnxWriter } from './onnx.ts';
import { ZERO } from './packed.ts';
import type { Place, Stored } from './stored.ts';

/** Number of TensorProto.DataType. */
const FLOAT = 1;

export type Blocks = Extract<Stored, { type: 'blocks' }>;

/** A weight that stays in a file, by its name and [out, in]. */
export interface StoredWeight {
  readonly name: string;
  readonly dims: readonly number[];
  readonly stored: Stored;
}

/** What `make` wrote the first time that it was asked for under `key`. */
export type Once = (key: string, make: () => string) => string;

/** Parts of blocks as they are in the file; what is made of them: `scalesOf`. */
function parts(onnx: OnnxWriter, { name, dims, stored }: StoredWeight & { readonly stored: Blocks }) {
  const [rows, width] = dims as [number, number];
  const { form, codes, scales, least } = stored;
  const each = [rows, width / form.size];
  return {
    codes: onnx.stored(
      `${name}.codes`,
      [...each, (form.size * form.bits) / 8],
      form.bits === 8 ? 'I8' : 'U8',
      codes,
    ),
    scales: onnx.stored(`${name}.scales`, each, form.scales, scales),
    least: least && onnx.stored(`${name}.least`, each, form.scales, least),
  };
}

const wide = (onnx: OnnxWriter, x: string): string => onnx.node('Cast', [x], { attributes: { to: FLOAT } });

/** Scales or least values as float32; what is widened lives for one node alone. */
function scalesOf(onnx: OnnxWriter, { form }: Pick<Blocks, 'form'>, x: string): string {
  return form.scales === 'F32' ? x : wide(onnx, x);
}

/**
 * The whole weight as float32. F16 and BF16 are widened when the graph runs, one weight at a time: what is widened
 * once stays in memory.
 */
export function storedWhole(onnx: OnnxWriter, weight: StoredWeight): string {
  const { name, dims, stored } = weight;
  if (stored.type === 'F32') return onnx.stored(name, dims, 'F32', stored.at);
  if (stored.type !== 'blocks') return wide(onnx, onnx.stored(`${name}.half`, dims, stored.type, stored.at));
  const { codes, scales, least } = parts(onnx, { ...weight, stored });
  const shape = onnx.ints(...dims);
  return opened(onnx, stored, codes, scales, least, shape);
}

/** Of what has to be widened to be multiplied, so many numbers at a time. */
export const WIDENED = 1 << 20;

/** Rows of a weight in parts of at most `WIDENED` numbers: where each begins, and where the last ends. */
export function tileRows([out, width]: readonly [number, number]): number[] {
  const count = Math.ceil((out * width) / WIDENED);
  return Array.from({ length: count + 1 }, (_, i) => Math.floor((i * out) / count));
}

/** x W^T, [..., in] to [..., out]. */
export function storedProduct(onnx: OnnxWriter, weight: StoredWeight, x: string, once: Once): string {
  const bounds = tileRows(weight.dims as [number, number]);
  if (bounds.length === 2) return product(onnx, weight, x, once);
  const products = bounds.slice(1).map((to, i) => product(onnx, someRows(weight, bounds[i]!, to), x, once));
  return onnx.node('Concat', products, { attributes: { axis: -1 } });
}

/** Some of a weight's rows, where they lie. */
export function someRows({ name, dims, stored }: StoredWeight, from: number, to: number): StoredWeight {
  const [out, width] = dims as [number, number];
  const cut = ({ path, offset, bytes }: Place): Place => {
    const row = bytes / out;
    return { path, offset: offset + from * row, bytes: (to - from) * row };
  };
  const part = { name: `${name}.${from}`, dims: [to - from, width] };
  if (stored.type !== 'blocks') return { ...part, stored: { ...stored, at: cut(stored.at) } };
  const { codes, scales, least } = stored;
  const cuts = { codes: cut(codes), scales: cut(scales), ...(least && { least: cut(least) }) };
  return { ...part, stored: { ...stored, ...cuts } };
}

/**
 * Blocks of 4 bits without least values are what ONNX Runtime's `MatMulNBits` is fast at, in float32 throughout: it
 * has scale * (code - 8). Least values add (least + 8 scale) times the sum of the block's inputs, a product that is
 * narrower by the size of a block. Codes of 8 bits it widens one by one, so that is done here.
 */
function product(onnx: OnnxWriter, weight: StoredWeight, x: string, once: Once): string {
  const { dims, stored } = weight;
  const [out, width] = dims as [number, number];
  if (stored.type !== 'blocks' || stored.form.bits === 8)
    return onnx.node('FusedMatMul', [x, storedWhole(onnx, weight)], TRANSPOSED);
  const { size } = stored.form;
  const found = parts(onnx, { ...weight, stored });
  const scales = scalesOf(onnx, stored, found.scales);
  const main = onnx.node('MatMulNBits', [x, found.codes, scales], {
    contrib: true,
    attributes: { K: width, N: out, bits: 4, block_size: size },
  });
  if (found.least === undefined) return main;
  const sums = once(`${x} sums ${size}`, () => blockSums(onnx, x, width / size, size));
  const shift = onnx.node('Mul', [scales, onnx.float(ZERO)]);
  const offsets = onnx.node('Add', [scalesOf(onnx, stored, found.least), shift]);
  return onnx.node('Add', [main, onnx.node('FusedMatMul', [sums, offsets], TRANSPOSED)]);
}

export const TRANSPOSED = { contrib: true, attributes: { transB: 1 } } as const;

/** [groups, rows, width] to [groups, rows, blocks], sums over each block. */
function blockSums(onnx: OnnxWriter, x: string, blocks: number, size: number): string {
  const split = onnx.node('Reshape', [x, onnx.ints(0, 0, blocks, size)]);
  return onnx.node('ReduceSum', [split, onnx.ints(-1)], { attributes: { keepdims: 0 } });
}

/** Some rows: ids of any shape [...] to [..., width]. */
export function storedRows(onnx: OnnxWriter, weight: StoredWeight, ids: string): string {
  const { name, dims, stored } = weight;
  const gather = (x: string) => onnx.node('Gather', [x, ids]);
  if (stored.type === 'F32') return gather(storedWhole(onnx, weight));
  if (stored.type !== 'blocks')
    return wide(onnx, gather(onnx.stored(`${name}.half`, dims, stored.type, stored.at)));
  const { codes, scales, least } = parts(onnx, { ...weight, stored });
  const some = gather(scales);
  const leading = onnx.node('Shape', [some], { attributes: { end: -1 } });
  const shape = onnx.node('Concat', [leading, onnx.ints(dims[1]!)], { attributes: { axis: 0 } });
  return opened(onnx, stored, gather(codes), some, least && gather(least), shape);
}

/** Codes [..., blocks, bytes] with their scales [..., blocks] to weights of the shape asked for. */
export function opened(
  onnx: OnnxWriter,
  stored: Pick<Blocks, 'form'>,
  codes: string,
  scales: string,
  least: string | undefined,
  shape: string,
): string {
  const last = onnx.ints(-1);
  const each = (x: string) => onnx.node('Unsqueeze', [scalesOf(onnx, stored, x), last]);
  const { bits, size } = stored.form;
  let code = wide(onnx, bits === 8 ? codes : halves(onnx, codes, size));
  if (bits === 4 && least === undefined) code = onnx.node('Sub', [code, onnx.float(ZERO)]);
  let value = onnx.node('Mul', [code, each(scales)]);
  if (least !== undefined) value = onnx.node('Add', [value, each(least)]);
  return onnx.node('Reshape', [value, shape]);
}

/** Two codes of 4 bits out of each byte: [..., blocks, size / 2] to [..., blocks, size]. */
function halves(onnx: OnnxWriter, bytes: string, size: number): string {
  const last = onnx.ints(-1);
  const low = onnx.node('BitwiseAnd', [bytes, onnx.byte(15)]);
  const high = onnx.node('BitShift', [bytes, onnx.byte(4)], { attributes: { direction: 'RIGHT' } });
  const pairs = [low, high].map((x) => onnx.node('Unsqueeze', [x, last]));
  const both = onnx.node('Concat', pairs, { attributes: { axis: -1 } });
  const leading = onnx.node('Shape', [bytes], { attributes: { end: -1 } });
  const shape = onnx.node('Concat', [leading, onnx.ints(size)], { attributes: { axis: 0 } });
  return onnx.node('Reshape', [both, shape]);
}
