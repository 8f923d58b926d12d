import { readFileSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { create } from '@bufbuild/protobuf';
import {
  StringStringEntryProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProtoSchema,
} from 'onnx-buf';
import { OnebyteError } from '../../errors.ts';
import { assemble, type FamilyParts } from '../assemble.ts';
import { BlockWriter, type Hidden } from '../block.ts';
import type { BuiltGraph, GraphOptions } from '../graph.ts';
import { loss } from '../head.ts';
import { OnnxWriter } from '../onnx.ts';
import type { OnnxFeed, OnnxInput, OnnxOutput } from './ports.ts';
import type { Initializer, OnnxFile } from './read.ts';
import { renameNodes } from './rename.ts';

const FLOAT = 1;
const INT64 = 7;

/** What a graph over an ONNX file is made of. */
export interface OnnxParts {
  readonly file: OnnxFile;
  readonly inputs: readonly OnnxInput[];
  readonly output: OnnxOutput;
  /** Weights that may be trained. */
  readonly lifted: ReadonlySet<string>;
  /** Weights are to stay in their files. */
  readonly lean: boolean;
}

/** Values of the file's graph, so that none is called like one of ours. */
const inside = (name: string): string => `model/${name}`;

/**
 * The graph of an ONNX file with what a job needs at its end: a head on its hidden state, or the loss of its scores.
 * Weights that are trained are inputs under their own names; all others stay initializers, where they are.
 */
export function buildOnnxGraph(parts: OnnxParts, options: GraphOptions): BuiltGraph {
  const onnx = new OnnxWriter(options.standalone);
  const block = new BlockWriter(onnx, options);
  const writer = new ForeignWriter(parts, options, block);
  if (options.from === 'pooled' || (parts.output.kind === 'hidden' && options.end !== 'tokens'))
    assemble(block, writer.family(), options);
  else writer.scores();
  return onnx.finish('onnx');
}

class ForeignWriter {
  readonly #parts: OnnxParts;
  readonly #options: GraphOptions;
  readonly #block: BlockWriter;
  readonly #onnx: OnnxWriter;

  constructor(parts: OnnxParts, options: GraphOptions, block: BlockWriter) {
    this.#parts = parts;
    this.#options = options;
    this.#block = block;
    this.#onnx = block.onnx;
  }

  /** The file's graph as a model of no layers, which ends in its hidden state. */
  family(): FamilyParts {
    const { width } = this.#parts.output;
    return {
      layers: 0,
      hidden: width,
      embed: () => ({ name: this.#rows(), spread: false }),
      layer: (_, x) => x,
      last: (x) => x,
    };
  }

  /** Ends in the file's own scores. */
  scores(): void {
    const { output } = this.#parts;
    const { end = 'head', to, words, labels } = this.#options;
    const onnx = this.#onnx;
    if (to !== 'loss' && to !== 'logits') {
      throw new OnebyteError(
        'PLAN_INVALID',
        `the model ends in ${output.name}, on which no new head can stand`,
        {
          field: 'method.plan',
          remedy: 'train its weights with the scope full, or name a hidden state in model.output',
        },
      );
    }
    if (end === 'tokens') {
      this.#tokenLoss(this.#block.rowsAt({ name: this.#rows(), spread: false }, 'scored'));
      return;
    }
    let scores: Hidden;
    if (output.kind === 'labels') {
      if (output.width !== labels) {
        throw new OnebyteError(
          'PLAN_INVALID',
          `the model's output ${output.name} has ${output.width} scores, and the task ${labels} labels`,
          { field: 'task.labels', remedy: 'name a label for each score, in their order' },
        );
      }
      const made = this.#value();
      scores = { name: onnx.node('Unsqueeze', [made, onnx.ints(0)]), spread: false };
    } else {
      const rows = this.#block.rowsAt({ name: this.#rows(), spread: false }, 'examples');
      const chosen = onnx.node('Gather', [rows.name, onnx.ints(...words!)], { attributes: { axis: 2 } });
      scores = { name: chosen, spread: false };
    }
    if (to === 'loss') loss(this.#block, scores, this.#options);
    else {
      onnx.node('Squeeze', [scores.name, onnx.ints(0)], { outputs: ['logits'] });
      onnx.output('logits', 'float32', ['examples', this.#options.labels!]);
    }
  }

  /** As `tokenLoss` has it: inputs `targets`, `shares`; outputs `loss`, `correct` [1, examples]. */
  #tokenLoss(scores: Hidden): void {
    const onnx = this.#onnx;
    if (this.#options.to === 'logits') {
      onnx.node('Identity', [scores.name], { outputs: ['logits'] });
      onnx.output('logits', 'float32', ['probes', 'scored', 'vocabulary']);
      return;
    }
    const targets = onnx.input('targets', 'int32', ['scored']);
    const shares = onnx.input('shares', 'float32', ['scored', 'examples']);
    const wide = onnx.node('Cast', [targets], { attributes: { to: INT64 } });
    const column = onnx.node('Reshape', [wide, onnx.ints(1, -1, 1)]);
    // Rows of a matrix: LogSoftmax of three dimensions means something else before operator set 13.
    const flat = onnx.node('Reshape', [scores.name, onnx.ints(-1, this.#parts.output.width)]);
    const log = onnx.node('LogSoftmax', [flat], { attributes: { axis: 1 } });
    const again = onnx.node('Reshape', [log, onnx.ints(1, -1, this.#parts.output.width)]);
    const own = onnx.node('GatherElements', [again, column], { attributes: { axis: 2 } });
    const losses = onnx.node('Neg', [onnx.node('Reshape', [own, onnx.ints(1, -1)])]);
    onnx.node('MatMul', [losses, shares], { outputs: ['loss'] });
    onnx.output('loss', 'float32', ['probes', 'examples']);
    const best = onnx.node('ArgMax', [scores.name], { attributes: { axis: 2, keepdims: 0 } });
    const same = onnx.node('Cast', [onnx.node('Equal', [best, wide])], { attributes: { to: FLOAT } });
    onnx.node('MatMul', [same, shares], { outputs: ['correct'] });
    onnx.output('correct', 'float32', ['probes', 'examples']);
  }

  /** [1, examples * tokens, width]. */
  #rows(): string {
    return this.#onnx.node('Reshape', [this.#value(), this.#onnx.ints(1, -1, this.#parts.output.width)]);
  }

  /** Writes the file's graph. @returns its output */
  #value(): string {
    const { file, inputs, output, lifted, lean } = this.#parts;
    const onnx = this.#onnx;
    const { inputs: trained, weights, standalone = false } = this.#options;
    const fed = new Map(inputs.map((input) => [input.name, this.#feed(input)]));
    const initializers: TensorProto[] = [];
    const own = new Map<string, string>();
    for (const [name, initializer] of file.initializers) {
      const view = lifted.has(name) ? weights.get(name) : undefined;
      if (view !== undefined && trained?.has(name)) own.set(name, onnx.input(name, 'float32', view.dims));
      else if (view !== undefined && (view.stored === undefined || standalone))
        own.set(name, onnx.weight(name, view));
      else initializers.push(asExternal(file, initializer, inside(name), standalone));
    }
    const rename = (name: string): string => fed.get(name) ?? own.get(name) ?? inside(name);
    const domains = new Map(file.model.opsetImport.map(({ domain, version }) => [domain, version]));
    for (const domain of ['', 'ai.onnx']) domains.delete(domain);
    const refers = initializers.some(
      ({ dataLocation }) => dataLocation === TensorProto_DataLocation.EXTERNAL,
    );
    onnx.include({
      nodes: renameNodes(file.graph.node, rename),
      initializers,
      opset: file.opset,
      domains,
      folder: refers ? dirname(file.path) : undefined,
      lean,
    });
    return rename(output.name);
  }

  #feed({ feed, type }: OnnxInput): string {
    const onnx = this.#onnx;
    const made: Record<OnnxFeed, () => string> = {
      ids: () => this.#block.integers('input_ids'),
      mask: () => this.#block.mask(),
      zeros: () => onnx.node('Sub', [made.ids(), made.ids()]),
      positions: () => {
        const mask = this.#block.mask();
        const steps = onnx.node('CumSum', [mask, onnx.scalar(1)]);
        return onnx.node('Mul', [onnx.node('Sub', [steps, onnx.int32(1)]), mask]);
      },
    };
    return onnx.node('Cast', [made[feed]()], { attributes: { to: type } });
  }
}

/** An initializer under another name, its numbers where they are. */
function asExternal(
  file: OnnxFile,
  { tensor, place }: Initializer,
  name: string,
  embed: boolean,
): TensorProto {
  if (place === undefined) return create(TensorProtoSchema, { ...tensor, name });
  const bare = { name, dims: tensor.dims, dataType: tensor.dataType };
  if (embed) {
    const bytes = readFileSync(place.path).subarray(place.offset, place.offset + place.bytes);
    return create(TensorProtoSchema, { ...bare, rawData: Uint8Array.from(bytes) });
  }
  const entry = (key: string, value: string | number) =>
    create(StringStringEntryProtoSchema, { key, value: String(value) });
  const location = relative(dirname(file.path), place.path);
  return create(TensorProtoSchema, {
    ...bare,
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: [entry('location', location), entry('offset', place.offset), entry('length', place.bytes)],
  });
}
