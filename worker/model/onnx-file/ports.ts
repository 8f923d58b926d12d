import { basename } from 'node:path';
import { TensorProto_DataType, type ValueInfoProto } from 'onnx-buf';
import { OnebyteError } from '../../errors.ts';
import type { OnnxFile } from './read.ts';

/** What a graph ends in, and is trained by. */
export interface OnnxOutput {
  readonly name: string;
  /**
   * hidden: [examples, tokens, width]; labels: scores of each label, [examples, width]; tokens: scores of each token
   * of the vocabulary, [examples, tokens, width].
   */
  readonly kind: 'hidden' | 'labels' | 'tokens';
  readonly width: number;
}

/** What an input is fed with. */
export type OnnxFeed = 'ids' | 'mask' | 'zeros' | 'positions';

export interface OnnxInput {
  readonly name: string;
  readonly feed: OnnxFeed;
  /** TensorProto.DataType that it wants. */
  readonly type: number;
}

const NUMBERS: readonly number[] = [
  TensorProto_DataType.INT32,
  TensorProto_DataType.INT64,
  TensorProto_DataType.FLOAT,
  TensorProto_DataType.BOOL,
];

const FEEDS: readonly (readonly [RegExp, OnnxFeed])[] = [
  [/^(input_?ids|ids|tokens)$/i, 'ids'],
  [/mask$/i, 'mask'],
  [/(token_type|segment)_?ids$/i, 'zeros'],
  [/position_?ids$/i, 'positions'],
];

function refuse(file: string, field: string, message: string, remedy: string): never {
  throw new OnebyteError('MODEL_CONFIG_INVALID', `${file}: ${message}`, { field, remedy });
}

/** Type and dimensions of a port; a dimension that is chosen at run time is undefined. */
function tensorOf({
  type,
}: ValueInfoProto): { type: number; dims: (number | undefined)[] | undefined } | undefined {
  if (type?.value.case !== 'tensorType') return undefined;
  const { elemType, shape } = type.value.value;
  const dims = shape?.dim.map(({ value }) => (value.case === 'dimValue' ? Number(value.value) : undefined));
  return { type: elemType, dims };
}

/** Inputs that are no weights. @throws {OnebyteError} MODEL_CONFIG_INVALID, naming one that nothing is known for */
export function inputsOf({ path, graph, initializers }: OnnxFile): OnnxInput[] {
  const file = basename(path);
  const open = graph.input.filter(({ name }) => !initializers.has(name));
  const inputs = open.map((port): OnnxInput => {
    const found = FEEDS.find(([pattern]) => pattern.test(port.name));
    const tensor = tensorOf(port);
    if (found === undefined || tensor === undefined || !NUMBERS.includes(tensor.type)) {
      const known = 'input_ids, attention_mask, token_type_ids, position_ids';
      const remedy = `export the model with no inputs but ${known}`;
      refuse(
        file,
        port.name,
        `nothing is known for its input ${JSON.stringify(port.name)}; known: ${known}`,
        remedy,
      );
    }
    return { name: port.name, feed: found[1], type: tensor.type };
  });
  if (!inputs.some(({ feed }) => feed === 'ids'))
    refuse(file, 'input_ids', 'it has no input of token ids', 'export the model with an input input_ids');
  return inputs;
}

/**
 * The output that the loss is made of: the one that the job names, else `logits`, else `last_hidden_state`, else the
 * only one of three dimensions whose last is fixed.
 * @throws {OnebyteError} MODEL_CONFIG_INVALID, with the outputs that there are
 */
export function outputOf({ path, graph }: OnnxFile, wanted?: string): OnnxOutput {
  const file = basename(path);
  const all = graph.output.flatMap((port) => {
    const tensor = tensorOf(port);
    if (tensor?.type !== TensorProto_DataType.FLOAT || tensor.dims === undefined) return [];
    const width = tensor.dims.at(-1);
    return [{ name: port.name, rank: tensor.dims.length, width }];
  });
  const named = (name: string) => all.find((output) => output.name === name);
  const wide = all.filter(({ rank, width }) => rank === 3 && width !== undefined);
  const found =
    wanted === undefined
      ? (named('logits') ?? named('last_hidden_state') ?? (wide.length === 1 ? wide[0] : undefined))
      : named(wanted);
  const list = graph.output.map(({ name }) => name).join(', ');
  const remedy = `name an output in model.output: scores or a hidden state in float32; there are ${list}`;
  if (found === undefined) refuse(file, 'model.output', 'it is not clear which output to learn from', remedy);
  const { name, rank, width } = found;
  if (width === undefined || (rank !== 2 && rank !== 3))
    refuse(file, 'model.output', `its output ${name} has ${rank} dimensions, or an open last one`, remedy);
  if (rank === 2) return { name, kind: 'labels', width };
  return { name, kind: /logits|scores/i.test(name) ? 'tokens' : 'hidden', width };
}
