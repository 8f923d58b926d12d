import { basename, dirname } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  StringStringEntryProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProto_DataType,
  TensorProtoSchema,
} from 'onnx-buf';
import { OnebyteError } from '../errors.ts';
import type { BuiltGraph, Port } from './graph.ts';
import {
  type Attribute,
  bytesOf,
  STORED,
  type StoredElement,
  toAttribute,
  toValueInfo,
} from './onnx-proto.ts';
import type { Place } from './stored.ts';
import type { TensorView } from './tensor.ts';

/** ONNX IR version and operator set that onnxruntime 1.30 and older tools both read. */
const IR_VERSION = 8n;
const OPSET = 18;
/** Domain of ONNX Runtime's own (contrib) operators. */
const CONTRIB = 'com.microsoft';

/** The operator set from which on an operator's axes are an input. */
const AXES_AS_INPUT: Readonly<Record<string, number>> = {
  ReduceSum: 13,
  Unsqueeze: 13,
  Squeeze: 13,
  ReduceMax: 18,
};

/** A graph that others have written, in parts. */
export interface ForeignGraph {
  readonly nodes: readonly NodeProto[];
  readonly initializers: readonly TensorProto[];
  readonly opset: number;
  /** Other operators' domains, with their versions. */
  readonly domains: ReadonlyMap<string, bigint>;
  /** Folder of the files that initializers refer to. */
  readonly folder: string | undefined;
  readonly lean: boolean;
}

/** Bytes of weights in files from which on the runtime maps them, and packs no copy. */
const LEAN = 2 ** 28;

export interface NodeOptions {
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** An operator of ONNX Runtime's own domain. */
  readonly contrib?: boolean;
  /** Number of outputs, or their names. Default: one, named by the writer. */
  readonly outputs?: number | readonly string[];
}

/**
 * Writes one ONNX graph, node by node, in the order of execution. Values are named by strings; an empty string is an
 * input left out. Weights stay where they are: the model refers to their memory as external data.
 */
export class OnnxWriter {
  readonly #nodes: NodeProto[] = [];
  readonly #initializers = new Map<string, TensorProto>();
  /** Weights in memory. */
  readonly #memory = new Map<string, TensorView>();
  readonly #inputs: Port[] = [];
  readonly #outputs: Port[] = [];
  readonly #domains = new Map<string, bigint>([[CONTRIB, 1n]]);
  readonly #frozen: string[] = [];
  readonly #embed: boolean;
  #opset = OPSET;
  #lean = false;
  #storedBytes = 0;
  #folder: string | undefined;
  #count = 0;

  /** @param embed put the weights into the protobuf, for a file that stands alone */
  constructor(embed = false) {
    this.#embed = embed;
  }

  input(name: string, dtype: Port['dtype'], dims: Port['dims']): string {
    if (!this.#inputs.some((port) => port.name === name)) this.#inputs.push({ name, dtype, dims });
    return name;
  }

  output(name: string, dtype: Port['dtype'], dims: Port['dims']): void {
    this.#outputs.push({ name, dtype, dims });
  }

  /** A small constant inside the protobuf; the same one is written once. */
  ints(...values: number[]): string {
    const data = bytesOf(BigInt64Array.from(values.map(BigInt)));
    return this.#put(`i_${values.join('_')}`, [values.length], TensorProto_DataType.INT64, data);
  }

  /** A scalar whole number. */
  scalar(value: number): string {
    const data = BigInt64Array.of(BigInt(value));
    return this.#put(`s_${value}`, [], TensorProto_DataType.INT64, bytesOf(data));
  }

  /** A scalar byte. */
  byte(value: number): string {
    return this.#put(`b_${value}`, [], TensorProto_DataType.UINT8, Uint8Array.of(value));
  }

  /** A scalar whole number of 32 bits. */
  int32(value: number): string {
    return this.#put(`w_${value}`, [], TensorProto_DataType.INT32, bytesOf(Int32Array.of(value)));
  }

  /** A small float constant inside the protobuf. */
  floats(name: string, values: Float32Array): string {
    return this.#put(name, [values.length], TensorProto_DataType.FLOAT, bytesOf(values));
  }

  /** A scalar float constant. */
  float(value: number): string {
    const name = `f_${value}`;
    return this.#put(name, [], TensorProto_DataType.FLOAT, bytesOf(Float32Array.of(value)));
  }

  /** A frozen weight; calls with the same name give the first one. */
  weight(name: string, { dims, data }: TensorView): string {
    if (this.#initializers.has(name) || this.#memory.has(name)) return name;
    this.#frozen.push(name);
    if (this.#embed) return this.#put(name, dims, TensorProto_DataType.FLOAT, bytesOf(data));
    this.#memory.set(name, { dims, data });
    return name;
  }

  /** A frozen weight, or a part of one, that stays in a file. All files of a graph lie in one folder. */
  stored(name: string, dims: readonly number[], element: StoredElement, place: Place): string {
    if (this.#initializers.has(name)) return name;
    this.#open(dirname(place.path));
    this.#storedBytes += place.bytes;
    this.#frozen.push(name);
    return this.#refer(name, dims, STORED[element], { ...place, path: basename(place.path) });
  }

  #open(folder: string): void {
    if ((this.#folder ??= folder) !== folder)
      throw new OnebyteError('INTERNAL', `weights of one graph lie in ${this.#folder} and in ${folder}`);
  }

  /**
   * Takes in a graph that others have written: its nodes come next, and nodes after them may use its values. What is
   * written here is then written for its operator set.
   */
  include({ nodes, initializers, opset, domains, folder, lean }: ForeignGraph): void {
    this.#opset = opset;
    for (const [domain, version] of domains) this.#domains.set(domain, version);
    this.#nodes.push(...nodes);
    for (const tensor of initializers) {
      this.#initializers.set(tensor.name, tensor);
      this.#frozen.push(tensor.name);
    }
    if (folder !== undefined) this.#open(folder);
    this.#lean ||= lean;
  }

  #refer(
    name: string,
    dims: readonly number[],
    dataType: TensorProto_DataType,
    { path, offset, bytes }: Place,
  ): string {
    const entry = (key: string, value: string | number) =>
      create(StringStringEntryProtoSchema, { key, value: String(value) });
    const externalData = [entry('location', path), entry('offset', offset), entry('length', bytes)];
    const dataLocation = TensorProto_DataLocation.EXTERNAL;
    const tensor = { name, dims: dims.map(BigInt), dataType, dataLocation, externalData };
    this.#initializers.set(name, create(TensorProtoSchema, tensor));
    return name;
  }

  /** Appends a node and gives the name of its first output. */
  node(opType: string, inputs: readonly string[], options: NodeOptions = {}): string {
    return this.nodes(opType, inputs, options)[0]!;
  }

  /** Appends a node and gives the names of all of its outputs. */
  nodes(opType: string, given: readonly string[], options: NodeOptions = {}): string[] {
    const { contrib = false, outputs = 1 } = options;
    const { inputs, attributes } = this.#forOpset(opType, given, options);
    const output =
      typeof outputs === 'number'
        ? Array.from({ length: outputs }, () => `${opType}_${this.#count++}`)
        : [...outputs];
    const sliced = attributes.slice !== undefined && opType === 'Shape';
    if (sliced) delete attributes.slice;
    const node = create(NodeProtoSchema, {
      name: `${opType}_${this.#nodes.length}`,
      opType: sliced ? 'Identity' : opType,
      domain: contrib ? CONTRIB : '',
      input: [...inputs],
      output,
      attribute: Object.entries(attributes).map(([name, value]) => toAttribute(name, value)),
    });
    this.#nodes.push(node);
    return output;
  }

  /**
   * Refers to the weights in memory. The runtime takes them from there or from files, not from both: next to files
   * they are copied into the protobuf.
   */
  #placeMemory(): BuiltGraph['external'] {
    const buffers = new Map<ArrayBufferLike, string>();
    for (const [name, { dims, data }] of this.#memory) {
      if (this.#folder !== undefined) {
        this.#put(name, dims, TensorProto_DataType.FLOAT, bytesOf(data));
        continue;
      }
      const path = buffers.get(data.buffer) ?? `memory${buffers.size}`;
      buffers.set(data.buffer, path);
      const place = { path, offset: data.byteOffset, bytes: data.byteLength };
      this.#refer(name, dims, TensorProto_DataType.FLOAT, place);
    }
    return [...buffers].map(([buffer, path]) => ({ path, data: new Uint8Array(buffer) }));
  }

  /** Before 13 (ReduceMax: 18) axes were an attribute; before 15 Shape gave all dimensions. */
  #forOpset(
    opType: string,
    inputs: readonly string[],
    { attributes = {}, contrib = false }: NodeOptions,
  ): { readonly inputs: readonly string[]; readonly attributes: Record<string, Attribute> } {
    const since = contrib ? undefined : AXES_AS_INPUT[opType];
    const [x, axes] = inputs;
    if (since !== undefined && this.#opset < since && axes !== undefined) {
      const values = axes.slice(2).split('_').map(Number);
      return { inputs: [x!], attributes: { ...attributes, axes: values } };
    }
    const { start = 0, end = Number.MAX_SAFE_INTEGER } = attributes;
    if (opType !== 'Shape' || this.#opset >= 15 || Object.keys(attributes).length === 0)
      return { inputs, attributes };
    const whole = this.node('Shape', [x!]);
    const bounds = [this.ints(Number(start)), this.ints(Number(end))];
    // Written as the slice that it is; the caller's node becomes an Identity of it.
    return { inputs: [this.node('Slice', [whole, ...bounds])], attributes: { slice: 1 } };
  }

  /**
   * Nodes of weights alone come first: of two inputs of a node the runtime computes the one written later before the other.
   * So it comes to what widens a weight when it is needed; written in place, hundreds of them would be widened first, and kept.
   */
  #ordered(): NodeProto[] {
    const fed = new Set(this.#inputs.map(({ name }) => name));
    const [weights, rest]: [NodeProto[], NodeProto[]] = [[], []];
    for (const node of this.#nodes) {
      const moves = node.input.some((value) => fed.has(value));
      for (const value of moves ? node.output : []) fed.add(value);
      (moves ? rest : weights).push(node);
    }
    return [...weights, ...rest];
  }

  finish(name: string): BuiltGraph {
    const external = this.#placeMemory();
    const graph = create(GraphProtoSchema, {
      name,
      node: this.#ordered(),
      initializer: [...this.#initializers.values()],
      input: this.#inputs.map(toValueInfo),
      output: this.#outputs.map(toValueInfo),
    });
    const opset = (domain: string, version: bigint) => create(OperatorSetIdProtoSchema, { domain, version });
    const model = create(ModelProtoSchema, {
      irVersion: IR_VERSION,
      producerName: 'onebyte',
      opsetImport: [opset('', BigInt(this.#opset)), ...[...this.#domains].map((pair) => opset(...pair))],
      graph,
    });
    return {
      bytes: toBinary(ModelProtoSchema, model),
      external,
      inputs: this.#inputs,
      outputs: this.#outputs,
      initializers: this.#frozen,
      ...(this.#folder === undefined ? {} : { folder: this.#folder, leave: this.#leave() }),
    };
  }

  #leave(): NonNullable<BuiltGraph['leave']> {
    if (this.#lean || this.#storedBytes > LEAN) return 'mapped';
    return this.#storedBytes > 0 ? 'narrow' : 'as is';
  }

  #put(
    name: string,
    dims: readonly number[],
    dataType: TensorProto_DataType,
    rawData: Uint8Array<ArrayBuffer>,
  ): string {
    if (!this.#initializers.has(name)) {
      this.#initializers.set(
        name,
        create(TensorProtoSchema, { name, dims: dims.map(BigInt), dataType, rawData }),
      );
    }
    return name;
  }
}
