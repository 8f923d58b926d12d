import { createHash } from 'node:crypto';
import { basename, dirname, relative } from 'node:path';
import { TensorProto_DataType } from 'onnx-buf';
import { sha256File } from '../../data/download.ts';
import { OnebyteError } from '../../errors.ts';
import type { Model } from '../family.ts';
import { storedView } from '../stored.ts';
import { sizeOf, type TensorView } from '../tensor.ts';
import { buildOnnxGraph } from './graph.ts';
import { matchesPattern } from './pattern.ts';
import { inputsOf, outputOf } from './ports.ts';
import { type Initializer, type OnnxFile, readOnnx } from './read.ts';

/** Longest text where the file does not say how many positions it knows. */
const MAX_TOKENS = 512;
/** Numbers of a model whose weights stay in their files: in memory they would take more than 1 GiB. */
const LARGE = 2 ** 28;

/** Layers by the names of weights. */
function layersOf(names: Iterable<string>): number {
  let most = 0;
  for (const name of names) {
    const found = /(?:^|\.)(?:layers?|h|blocks?)\.(\d{1,4})\./.exec(name);
    if (found !== null) most = Math.max(most, Number(found[1]) + 1);
  }
  return most;
}

function viewOf({ tensor, dims, place }: Initializer): TensorView {
  if (place !== undefined) return storedView(dims, { type: 'F32', at: place });
  const { rawData, floatData } = tensor;
  const data = rawData.length > 0 ? new Float32Array(rawData.slice().buffer) : Float32Array.from(floatData);
  return { dims, data };
}

/** Rows of the matrix that token ids choose from. */
function vocabularyOf(file: OnnxFile, ids: string): number {
  const node = file.graph.node.find(({ opType, input }) => opType === 'Gather' && input[1] === ids);
  return file.initializers.get(node?.input[0] ?? '')?.dims[0] ?? Number.MAX_SAFE_INTEGER;
}

function positionsOf({ initializers }: OnnxFile): number {
  for (const [name, { dims }] of initializers)
    if (/position_embeddings.*weight|wpe\.weight/.test(name) && dims.length === 2) return dims[0]!;
  return MAX_TOKENS;
}

/** What a job says of an ONNX file, in `model`. */
export interface OnnxChoice {
  /** The output to learn from; by default it is looked for (`outputOf`). */
  readonly output?: string;
  /** Patterns (`matchesPattern`) of the weights that may be trained; by default every float32 matrix. */
  readonly weights?: readonly string[];
}

/** Weights that may be trained. @throws {OnebyteError} MODEL_CONFIG_INVALID for a pattern that finds none */
function liftedOf({ path, initializers }: OnnxFile, patterns: readonly string[] | undefined): string[] {
  const floats = [...initializers].filter(([, { tensor }]) => tensor.dataType === TensorProto_DataType.FLOAT);
  if (patterns === undefined)
    return floats.flatMap(([name, { dims }]) =>
      dims.length === 2 && dims.every((dim) => dim > 1) ? [name] : [],
    );
  // Single numbers are constants of the graph.
  const names = floats.flatMap(([name, initializer]) => (sizeOf(initializer) > 1 ? [name] : []));
  for (const pattern of patterns) {
    if (names.some((name) => matchesPattern(pattern, name))) continue;
    const some = names.slice(0, 5).join(', ') || 'none';
    throw new OnebyteError(
      'MODEL_CONFIG_INVALID',
      `${basename(path)}: ${JSON.stringify(pattern)} is the name of no float32 weight (of ${names.length}: ${some}${names.length > 5 ? ', ...' : ''})`,
      { field: 'model.weights', remedy: 'write names as the file has them; * stands for any characters' },
    );
  }
  return names.filter((name) => patterns.some((pattern) => matchesPattern(pattern, name)));
}

/**
 * Opens an ONNX file of another tool. What may be trained is among its initializers, under its own name; they stay in
 * the file until they are. Scopes: `full`, and `head` on a hidden state.
 * @returns the model, and the lower-case hex SHA-256 of the file: with files beside it, of what `sha256sum` prints for
 *   all of them, sorted by name
 * @throws {OnebyteError} MODEL_FILE_MISSING, MODEL_FILE_INVALID, MODEL_TYPE_UNSUPPORTED, MODEL_CONFIG_INVALID
 */
export async function openOnnx(
  path: string,
  choice: OnnxChoice = {},
): Promise<{ readonly model: Model; readonly digest: string }> {
  const file = readOnnx(path);
  const inputs = inputsOf(file);
  const found = outputOf(file, choice.output);
  const weights = new Map(
    liftedOf(file, choice.weights).map((name) => [name, viewOf(file.initializers.get(name)!)]),
  );
  const size = [...file.initializers.values()].reduce((sum, initializer) => sum + sizeOf(initializer), 0);
  const parts = { file, inputs, output: found, lifted: new Set(weights.keys()), lean: size > LARGE };
  const model: Model = {
    family: 'onnx',
    layers: layersOf(weights.keys()),
    hidden: found.width,
    vocabulary: vocabularyOf(file, inputs.find(({ feed }) => feed === 'ids')!.name),
    maxTokens: positionsOf(file),
    generates: found.kind === 'tokens',
    fillsGaps: false,
    uncut: true,
    weights,
    matrices: [],
    graph: (options) => buildOnnxGraph(parts, { weights, hidden: found.width, ...options }),
    withWeights: (changed) => new Map([...weights, ...changed]),
  };
  return { model, digest: await digestOf(file) };
}

async function digestOf({ path, external }: OnnxFile): Promise<string> {
  const own = await sha256File(path);
  if (external.length === 0) return own;
  const names = new Map([[basename(path), own]]);
  for (const other of external) names.set(relative(dirname(path), other), await sha256File(other));
  const lines = [...names]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, digest]) => `${digest}  ${name}\n`);
  return createHash('sha256').update(lines.join('')).digest('hex');
}
