import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OnebyteError } from '../errors.ts';
import { makeFolder } from '../folder.ts';
import { unwritable } from '../system-error.ts';
import { writeWhole } from '../whole-file.ts';
import type { ModelFolder } from './folder.ts';
import { openGguf } from './gguf/source.ts';
import { mergeLowRank } from './merge.ts';
import { writeSafetensors } from './safetensors.ts';
import { sizeOf, type TensorView, type Weights } from './tensor.ts';

/** What a run has made of its base model. */
export interface Trained {
  /** Whole weights that differ from the base, by name, merges included. */
  readonly weights: ReadonlyMap<string, TensorView>;
  /** A new head, [labels, hidden] and [labels], and what its outputs are called; null where the task has none. */
  readonly head: {
    readonly weight: TensorView;
    readonly bias: TensorView;
    readonly labels: readonly string[];
  } | null;
  readonly pooling: 'mean' | 'cls';
  /** Low-rank parts that are not merged: W + (alpha / rank) b a, by matrix. */
  readonly adapters?: {
    readonly rank: number;
    readonly alpha: number;
    readonly factors: ReadonlyMap<string, { readonly a: TensorView; readonly b: TensorView }>;
  };
}

/** Contents by file name. */
export type Files = ReadonlyMap<string, Uint8Array>;

/** ONNX Runtime and protobuf both end at 2 GiB. */
const PROTOBUF_LIMIT = 2 ** 31 - 1;

const json = (value: unknown): Uint8Array => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);

/** The base's weights with everything merged, by their Hugging Face names. */
export function mergedWeights({ model }: ModelFolder, { weights, adapters }: Trained): Weights {
  const changed = new Map(weights);
  for (const [matrix, { a, b }] of adapters?.factors ?? []) {
    const name = `${matrix}.weight`;
    const base = changed.get(name) ?? model.weights.get(name);
    if (base === undefined) {
      throw new OnebyteError('MODEL_TENSOR_MISSING', `the model has no tensor ${name}`, {
        field: name,
        remedy: 'give the base model that the run began with',
      });
    }
    changed.set(name, mergeLowRank(base, b, a, adapters!.alpha / adapters!.rank));
  }
  return model.withWeights(changed);
}

function classifier({ head }: Trained): [string, TensorView][] {
  if (head === null) return [];
  return [
    ['classifier.weight', head.weight],
    ['classifier.bias', head.bias],
  ];
}

async function tokenizerFiles({ dir }: ModelFolder): Promise<[string, Uint8Array][]> {
  if (/[.]gguf$/i.test(dir)) {
    const { tokenizer } = await openGguf(dir);
    return [
      ['tokenizer.json', json(tokenizer.json)],
      ['tokenizer_config.json', json(tokenizer.config)],
    ];
  }
  const names = [
    'tokenizer.json',
    'tokenizer_config.json',
    'special_tokens_map.json',
    'chat_template.jinja',
    'generation_config.json',
    'vocab.txt',
  ];
  const files = names.map(async (name): Promise<[string, Uint8Array][]> => {
    const bytes = await readFile(join(dir, name)).catch(() => undefined);
    return bytes === undefined ? [] : [[name, bytes]];
  });
  return (await Promise.all(files)).flat();
}

function labelMaps({ head, pooling }: Trained): Record<string, unknown> {
  if (head === null) return {};
  const { labels } = head;
  return {
    id2label: Object.fromEntries(labels.map((label, id) => [String(id), label])),
    label2id: Object.fromEntries(labels.map((label, id) => [label, id])),
    onebyte: { pooling, head: 'logits = classifier.weight pooled + classifier.bias' },
  };
}

/**
 * A whole model folder: the base's weights with everything merged, by their Hugging Face names and shapes, and the
 * head as `classifier.weight` and `classifier.bias`. The head stands on the pooled last hidden state, not on BERT's
 * own pooler: load the folder as the base class (`AutoModel`), and put the head on top.
 */
export async function exportSafetensors(folder: ModelFolder, trained: Trained): Promise<Files> {
  const { model } = folder;
  const all: Weights = new Map([...mergedWeights(folder, trained), ...classifier(trained)]);
  const weights = model.storedNames?.(all) ?? all;
  // Newer readers look at `dtype` alone where it is there, older ones know `torch_dtype` alone.
  const dtypes = { torch_dtype: 'float32', ...('dtype' in folder.config && { dtype: 'float32' }) };
  const config = { ...folder.config, ...dtypes, ...labelMaps(trained) };
  return new Map([
    ['config.json', json(config)],
    ['model.safetensors', writeSafetensors(weights)],
    ...(await tokenizerFiles(folder)),
  ]);
}

/** The model that an adapter is for: a repository of the hub at a revision, or a folder. */
export interface PeftBase {
  readonly name: string;
  /** Default: the repository's main branch. */
  readonly revision?: string;
}

/**
 * A PEFT adapter (https://github.com/huggingface/peft, LoRA) over the base class of the model: `adapter_config.json`
 * and `adapter_model.safetensors`. The head, which PEFT has no place for on a base class, is in
 * `classifier.safetensors`, the labels in `onebyte.json`.
 * @param base what `base_model_name_or_path` and `revision` say
 * @throws {OnebyteError} EXPORT_UNSUPPORTED where whole weights were changed too, or there is no adapter
 */
export function exportPeft(folder: ModelFolder, trained: Trained, base: PeftBase): Files {
  const { adapters } = trained;
  if (adapters === undefined || trained.weights.size > 0) {
    throw new OnebyteError('EXPORT_UNSUPPORTED', 'only a run of the scope `lora` is a PEFT adapter', {
      field: 'format',
      remedy: 'export it as safetensors or onnx',
    });
  }
  const config = {
    peft_type: 'LORA',
    task_type: folder.model.generates && trained.head === null ? 'CAUSAL_LM' : 'FEATURE_EXTRACTION',
    base_model_name_or_path: base.name,
    ...(base.revision !== undefined && { revision: base.revision }),
    inference_mode: true,
    r: adapters.rank,
    lora_alpha: adapters.alpha,
    lora_dropout: 0,
    bias: 'none',
    fan_in_fan_out: false,
    init_lora_weights: true,
    use_rslora: false,
    use_dora: false,
    // Whole names: PEFT also takes a suffix, and `output.dense` would name two matrices of a layer.
    target_modules: [...adapters.factors.keys()],
    modules_to_save: null,
  };
  const tensors = [...adapters.factors].flatMap(([matrix, { a, b }]): [string, TensorView][] => [
    [`base_model.model.${matrix}.lora_A.weight`, a],
    [`base_model.model.${matrix}.lora_B.weight`, b],
  ]);
  return new Map([
    ['adapter_config.json', json(config)],
    ['adapter_model.safetensors', writeSafetensors(new Map(tensors))],
    ...(trained.head === null ? [] : classifierFiles(trained)),
  ]);
}

function classifierFiles(trained: Trained): [string, Uint8Array][] {
  return [
    ['classifier.safetensors', writeSafetensors(new Map(classifier(trained)))],
    ['onebyte.json', json(labelMaps(trained))],
  ];
}

/**
 * One ONNX file that stands alone: `input_ids` and `attention_mask`, int64 [examples, tokens], to `logits`
 * [examples, labels]; of a language model [examples, tokens, vocabulary]. It uses ONNX Runtime's own operators (domain `com.microsoft`).
 * @throws {OnebyteError} EXPORT_UNSUPPORTED above 2 GiB
 */
export async function exportOnnx(folder: ModelFolder, trained: Trained): Promise<Files> {
  const weights = mergedWeights(folder, trained);
  const bytes = [...weights.values()].reduce((sum, view) => sum + 4 * sizeOf(view), 0);
  if (bytes > PROTOBUF_LIMIT) {
    throw new OnebyteError(
      'EXPORT_UNSUPPORTED',
      `an ONNX file ends at 2 GiB, the weights have ${bytes} bytes`,
      {
        field: 'format',
        remedy: 'export it as safetensors',
      },
    );
  }
  const { head } = trained;
  const graph = folder.model.graph({
    weights,
    from: 'ids',
    to: 'logits',
    pooling: trained.pooling,
    ...(head === null ? { end: 'tokens' } : { labels: head.labels.length, head }),
    standalone: true,
  });
  return new Map([
    ['model.onnx', graph.bytes],
    ['config.json', json({ ...folder.config, ...labelMaps(trained) })],
    ...(await tokenizerFiles(folder)),
  ]);
}

/** Writes the files into a folder; each is whole or not there. @throws {OnebyteError} FILE_UNWRITABLE, DISK_FULL */
export async function writeFiles(dir: string, files: Files): Promise<void> {
  await makeFolder(dir).catch((cause: unknown) => {
    throw unwritable(dir, cause);
  });
  // By one name: what a killed process left is written over by the next one, and does not stay beside the model.
  for (const [name, bytes] of files) await writeWhole(join(dir, name), bytes, 'export');
}
