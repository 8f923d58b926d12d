/**
 * Matrices of 4- and 8-bit blocks in ONNX Runtime, in the ways that it has for them, against the same matrix in float32:
 * `node bench/blocks.ts [OUT IN]`. Prints the processor milliseconds of one product with 16, 256 and 1,024 rows, the
 * best of four calls over eight matrices; `packed`: the runtime has made its own copy before. Decides `storedProduct`.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Session } from '../worker/engine/evaluators/session.ts';
import { OnnxWriter } from '../worker/model/onnx.ts';
import type { StoredElement } from '../worker/model/onnx-proto.ts';

const [out, width] = [Number(process.argv[2] ?? 1536), Number(process.argv[3] ?? 576)];
const blocks = width / 32;
const MATRICES = 8;
const ROWS = [16, 256, 1024];
const folder = mkdtempSync(join(tmpdir(), 'onebyte-blocks-'));
const path = join(folder, 'weights');
const bytes = Float32Array.from({ length: out * width }, (_, i) => 0.001 + (i % 97) / 9700);
writeFileSync(path, new Uint8Array(bytes.buffer));

type Product = (onnx: OnnxWriter, x: string, name: string) => string;

const transposed = { contrib: true, attributes: { transB: 1 } } as const;
const part = (onnx: OnnxWriter, name: string, dims: number[], element: StoredElement, size: number): string =>
  onnx.stored(name, dims, element, { path, offset: 0, bytes: dims.reduce((a, b) => a * b, size) });
const numbers = (onnx: OnnxWriter, name: string) => part(onnx, name, [out, blocks], 'F32', 4);

const nbits =
  (bits: 4 | 8, level: number, zeros: boolean): Product =>
  (onnx, x, name) => {
    const codes = part(onnx, `${name}.codes`, [out, blocks, bits * 4], 'U8', 1);
    const inputs = [x, codes, numbers(onnx, `${name}.scales`)];
    if (zeros) inputs.push(numbers(onnx, `${name}.zeros`));
    const attributes = { K: width, N: out, bits, block_size: 32, accuracy_level: level };
    return onnx.node('MatMulNBits', inputs, { contrib: true, attributes });
  };

const withOffsets: Product = (onnx, x, name) => {
  const split = onnx.node('Reshape', [x, onnx.ints(0, 0, blocks, 32)]);
  const sums = onnx.node('ReduceSum', [split, onnx.ints(-1)], { attributes: { keepdims: 0 } });
  const narrow = onnx.node('FusedMatMul', [sums, numbers(onnx, `${name}.least`)], transposed);
  return onnx.node('Add', [nbits(4, 0, false)(onnx, x, name), narrow]);
};

const widened: Product = (onnx, x, name) => {
  const codes = part(onnx, `${name}.codes`, [out, blocks, 32], 'I8', 1);
  const code = onnx.node('Cast', [codes], { attributes: { to: 1 } });
  const each = onnx.node('Unsqueeze', [numbers(onnx, `${name}.scales`), onnx.ints(-1)]);
  const whole = onnx.node('Reshape', [onnx.node('Mul', [code, each]), onnx.ints(out, width)]);
  return onnx.node('FusedMatMul', [x, whole], transposed);
};

const dense: Product = (onnx, x, name) =>
  onnx.node('FusedMatMul', [x, part(onnx, name, [out, width], 'F32', 4)], transposed);

const WAYS: readonly (readonly [string, Product, 'mapped' | 'narrow'])[] = [
  ['float32, packed', dense, 'narrow'],
  ['4 bits, a zero for each block, mapped', nbits(4, 0, true), 'mapped'],
  ['4 bits, a zero for each block, packed', nbits(4, 0, true), 'narrow'],
  ['4 bits around 8, mapped', nbits(4, 0, false), 'mapped'],
  ['4 bits around 8, packed', nbits(4, 0, false), 'narrow'],
  ['4 bits around 8 and least values as a product', withOffsets, 'narrow'],
  ['4 bits around 8, packed, inputs in 8 bits', nbits(4, 4, false), 'narrow'],
  ['8 bits by MatMulNBits', nbits(8, 0, false), 'narrow'],
  ['8 bits by MatMulNBits, inputs in 8 bits', nbits(8, 4, false), 'narrow'],
  ['8 bits, widened in the graph', widened, 'narrow'],
];

console.log(`[${out}, ${width}]${' '.repeat(40)}rows: ${ROWS.join(', ')}`);
for (const [what, product, leave] of WAYS) {
  const onnx = new OnnxWriter();
  const x = onnx.input('x', 'float32', [1, 'rows', width]);
  for (let i = 0; i < MATRICES; i++) {
    const y = product(onnx, x, `m${i}`);
    onnx.node('ReduceSum', [y, onnx.ints(-1)], { attributes: { keepdims: 0 }, outputs: [`y${i}`] });
    onnx.output(`y${i}`, 'float32', [1, 'rows']);
  }
  const session = await Session.open({ ...onnx.finish('blocks'), leave }, { threads: 2 });
  const times: string[] = [];
  for (const rows of ROWS) {
    const data = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i));
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 4; i++) {
      const start = process.cpuUsage();
      await session.run({ x: { data, dims: [1, rows, width] } });
      const { user, system } = process.cpuUsage(start);
      best = Math.min(best, (user + system) / 1000 / MATRICES);
    }
    times.push(best.toFixed(2));
  }
  console.log(`${what.padEnd(50)} ${times.join('   ')}`);
  await session.close();
}
rmSync(folder, { recursive: true });
