import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { OnebyteError } from '../errors.ts';
import { bertModel } from './bert-model.ts';
import { readBertConfig } from './config.ts';
import type { Model } from './family.ts';
import { loadPacked } from './gguf/packed-file.ts';
import { openGguf } from './gguf/source.ts';
import { LLAMA_TYPES, readLlamaConfig } from './llama-config.ts';
import { llamaModel } from './llama-model.ts';
import { type OnnxChoice, openOnnx } from './onnx-file/model.ts';
import { isPacked } from './packed.ts';
import { openSafetensors } from './safetensors-source.ts';
import { loadWeights, mapWeights, type StoredTensor } from './source.ts';
import { sizeOf, type TensorView } from './tensor.ts';
import { openTokenizer, type TextTokenizer } from './tokenizer.ts';

/** A Hugging Face model folder, or a GGUF file, read and checked. */
export interface ModelFolder {
  /** The folder, or the file. */
  readonly dir: string;
  readonly model: Model;
  readonly tokenizer: TextTokenizer;
  /** `config.json` as it was read, or as it would be: the start of an export's. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Lower-case hex SHA-256 of the weights (`WeightSource.load`) and of tokenizer.json. */
  readonly digests: { readonly weights: string; readonly tokenizer: string };
}

type Open = (config: Readonly<Record<string, unknown>>, stored: ReadonlyMap<string, TensorView>) => Model;

/** Families by the `model_type` of their config.json. */
const FAMILIES: ReadonlyMap<unknown, Open> = new Map([
  ['bert', (config, stored) => bertModel(readBertConfig(config), stored)],
  ...LLAMA_TYPES.map((type): [string, Open] => [
    type,
    (config, stored) => llamaModel(readLlamaConfig(config), stored),
  ]),
]);

const WHOLE = 'use the file that was published with the model';

async function read(dir: string, file: string): Promise<Uint8Array> {
  try {
    return await readFile(join(dir, file));
  } catch (cause) {
    throw new OnebyteError('MODEL_FILE_MISSING', `${dir}: cannot read ${file}`, {
      field: file,
      cause,
      remedy: 'point the job at a folder with config.json, model.safetensors and tokenizer.json',
    });
  }
}

function parse(file: string, bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new OnebyteError('MODEL_CONFIG_INVALID', `${file} is not JSON`, {
      field: file,
      cause,
      remedy: WHOLE,
    });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new OnebyteError('MODEL_CONFIG_INVALID', `${file} is not a JSON object`, {
      field: file,
      remedy: WHOLE,
    });
  }
  return value as Record<string, unknown>;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function familyOf(config: Readonly<Record<string, unknown>>): Open {
  const open = FAMILIES.get(config.model_type);
  if (open !== undefined) return open;
  const known = [...FAMILIES.keys()].join(', ');
  throw new OnebyteError(
    'MODEL_FAMILY_UNKNOWN',
    `the model's family is ${JSON.stringify(config.model_type)}; known: ${known}`,
    { field: 'config.json:model_type', remedy: `use a model of a known family: ${known}` },
  );
}

function checkVocabulary(tokenizer: TextTokenizer, model: Model, file: string): void {
  if (tokenizer.vocabulary <= model.vocabulary) return;
  throw new OnebyteError(
    'MODEL_CONFIG_INVALID',
    `${file} gives ids up to ${tokenizer.vocabulary - 1}, and the model has ${model.vocabulary} embeddings`,
    { field: file, remedy: `use the ${file} that was published with the model` },
  );
}

/** Numbers of a model whose weights stay in their files: in memory they would take more than 1 GiB. */
const LARGE = 2 ** 28;

function isLarge(tensors: ReadonlyMap<string, StoredTensor>): boolean {
  return [...tensors.values()].reduce((sum, tensor) => sum + sizeOf(tensor), 0) > LARGE;
}

/** A GGUF file has its tokenizer in it, so one digest speaks for both. */
async function openFile(path: string): Promise<ModelFolder> {
  const file = await openGguf(path);
  const { config, tokenizer: found, source, tensors } = file;
  const open = familyOf(config);
  const tokenizer = openTokenizer(found.json, found.config);
  const inBlocks = [...tensors.values()].some(({ tensor }) => isPacked(tensor.type.name));
  const { weights, digest } =
    inBlocks || isLarge(tensors) ? await loadPacked(file) : await loadWeights(source);
  const model = open(config, weights);
  checkVocabulary(tokenizer, model, source.file);
  return { dir: path, model, tokenizer, config, digests: { weights: digest, tokenizer: digest } };
}

/** The tokenizer lies beside the file, or above it, as in repositories that keep their ONNX files in a folder. */
async function openOnnxFile(path: string, choice: OnnxChoice): Promise<ModelFolder> {
  const { model, digest } = await openOnnx(path, choice);
  const beside = dirname(path);
  const dir = existsSync(join(beside, 'tokenizer.json')) ? beside : dirname(beside);
  const tokenizerJson = await read(dir, 'tokenizer.json');
  const tokenizer = openTokenizer(parse('tokenizer.json', tokenizerJson), await tokenizerConfig(dir));
  checkVocabulary(tokenizer, model, 'tokenizer.json');
  const bytes = await read(dir, 'config.json').catch(() => undefined);
  const config = bytes === undefined ? {} : parse('config.json', bytes);
  return {
    dir: path,
    model,
    tokenizer,
    config,
    digests: { weights: digest, tokenizer: sha256(tokenizerJson) },
  };
}

/** tokenizer_config.json, with the chat template that newer folders keep in a file of its own. */
async function tokenizerConfig(dir: string): Promise<Record<string, unknown>> {
  const file = 'tokenizer_config.json';
  const bytes = await read(dir, file).catch(() => undefined);
  const config = bytes === undefined ? {} : parse(file, bytes);
  const template = await read(dir, 'chat_template.jinja').catch(() => undefined);
  return template === undefined ? config : { ...config, chat_template: new TextDecoder().decode(template) };
}

/**
 * Opens a Hugging Face model folder: config.json, model.safetensors, tokenizer.json (and tokenizer_config.json where
 * there is one); or a file that ends in `.gguf`; or one in `.onnx` with a tokenizer.json beside or above it. The weights
 * are read once.
 * @param choice what the job says of an ONNX file
 * @throws {OnebyteError} MODEL_FILE_MISSING, MODEL_FILE_INVALID, MODEL_FAMILY_UNKNOWN, MODEL_CONFIG_INVALID,
 *   MODEL_TENSOR_MISSING, MODEL_TYPE_UNSUPPORTED
 */
export async function openModelFolder(dir: string, choice: OnnxChoice = {}): Promise<ModelFolder> {
  if (/[.]gguf$/i.test(dir)) return openFile(dir);
  if (/[.]onnx$/i.test(dir)) return openOnnxFile(dir, choice);
  const config = parse('config.json', await read(dir, 'config.json'));
  const open = familyOf(config);
  const tokenizerJson = await read(dir, 'tokenizer.json');
  const tokenizer = openTokenizer(parse('tokenizer.json', tokenizerJson), await tokenizerConfig(dir));
  const source = await openSafetensors(dir);
  const { weights, digest } = isLarge(source.tensors) ? await mapWeights(source) : await loadWeights(source);
  const model = open(config, weights);
  checkVocabulary(tokenizer, model, 'tokenizer.json');
  const digests = { weights: digest, tokenizer: sha256(tokenizerJson) };
  return { dir, model, tokenizer, config, digests };
}
