import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { OnebyteError } from '../../errors.ts';
import { type Files, mergedWeights, type Trained } from '../export.ts';
import type { ModelFolder } from '../folder.ts';
import { type LlamaConfig, readLlamaConfig, ropeFrequencies } from '../llama-config.ts';
import type { TensorView } from '../tensor.ts';
import { ggufArchitecture, metadataOf } from './metadata.ts';
import { ggufName, rowInHead, rowsMoved } from './names.ts';
import { openGguf } from './source.ts';
import type { GgufTokenizer } from './tokenizer.ts';
import { type GgufSource, writeGguf } from './writer.ts';

/** `tokenizer.json` and `tokenizer_config.json` of a model, whatever it was opened from. */
export async function tokenizerOfFolder({ dir }: ModelFolder): Promise<GgufTokenizer> {
  if (/[.]gguf$/i.test(dir)) return (await openGguf(dir)).tokenizer;
  const text = (name: string) => readFile(join(dir, name), 'utf8').catch(() => undefined);
  const config = await text('tokenizer_config.json');
  const template = await text('chat_template.jinja');
  return {
    json: JSON.parse((await text('tokenizer.json')) ?? '{}'),
    config: { ...JSON.parse(config ?? '{}'), ...(template === undefined ? {} : { chat_template: template }) },
  };
}

/**
 * A GGUF file for llama.cpp: the base with everything merged, matrices in half or single precision.
 * @throws {OnebyteError} EXPORT_UNSUPPORTED for a model of another family than Llama, or one with a head of its own
 */
export async function exportGguf(folder: ModelFolder, trained: Trained, type: 'F16' | 'F32'): Promise<Files> {
  const architecture = ggufArchitecture(folder.config);
  if (trained.head !== null) {
    throw new OnebyteError('EXPORT_UNSUPPORTED', 'a GGUF file has no place for a classifier', {
      field: 'format',
      remedy: 'export it as safetensors or onnx',
    });
  }
  const config = readLlamaConfig(folder.config);
  const name = basename(folder.dir).replace(/[.]gguf$/i, '');
  const metadata = metadataOf(folder.config, await tokenizerOfFolder(folder), name, type === 'F16');
  const tensors: GgufSource[] = [];
  for (const [own, view] of mergedWeights(folder, trained)) {
    const named = ggufName(own);
    if (named !== undefined) tensors.push(sourceOf(named, own, view, architecture, config, type));
  }
  if (config.scaling.type === 'llama3') tensors.push(factorsOf(config));
  const pieces = [...writeGguf(metadata, tensors)];
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return new Map([['model.gguf', whole]]);
}

function sourceOf(
  name: string,
  own: string,
  view: TensorView,
  architecture: string,
  { headWidth }: LlamaConfig,
  matrices: 'F16' | 'F32',
): GgufSource {
  const { dims } = view;
  const type = dims.length > 1 ? matrices : 'F32';
  const read = () => {
    const { data } = view;
    const ordered = rowsMoved(architecture, own) ? reordered(data, dims[0]!, headWidth) : data;
    const numbers = type === 'F16' ? Float16Array.from(ordered) : ordered;
    return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  };
  return { name, dims, type, read };
}

/** Rows as llama.cpp wants them. */
function reordered(data: Float32Array, rows: number, headWidth: number): Float32Array {
  const width = data.length / rows;
  const out = new Float32Array(data.length);
  for (let row = 0; row < rows; row++) {
    const from = rowInHead(row, headWidth) * width;
    out.set(data.subarray(from, from + width), row * width);
  }
  return out;
}

/** What Llama 3.1's rule divides each frequency by. */
function factorsOf(config: LlamaConfig): GgufSource {
  const plain = ropeFrequencies({ ...config, scaling: { type: 'default' } });
  const factors = Float32Array.from(ropeFrequencies(config), (scaled, i) => plain[i]! / scaled);
  const read = () => new Uint8Array(factors.buffer);
  return { name: 'rope_freqs.weight', dims: [factors.length], type: 'F32', read };
}
