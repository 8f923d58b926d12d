import { InferenceSession, Tensor } from 'onnxruntime-node';
import { OnebyteError } from '../../errors.ts';
import type { BuiltGraph } from '../../model/graph.ts';
import { DEVICE_VARIABLE, deviceOf } from '../device.ts';
import { throughGate } from '../exit-gate.ts';

/** What a graph is fed: memory and dims. The memory is read where it lies, also when it is shared. */
export interface Feed {
  readonly data: Float32Array | Int32Array | Int8Array | Uint8Array;
  readonly dims: readonly number[];
}

export interface SessionOptions {
  /** Threads of the forward pass. */
  readonly threads: number;
}

/** Something that computes outputs from feeds, and leaves out feeds that it has no input for. */
export interface Forward {
  /** Its first output, by whatever name. */
  readonly output: string;
  /** @throws OnebyteError ENGINE_FAILED */
  run(feeds: Readonly<Record<string, Feed>>): Promise<Outputs>;
  close(): Promise<void>;
}

export type Outputs = Readonly<Record<string, Float32Array>>;

/** A graph that is ready to run. */
export class Session implements Forward {
  readonly inputs: ReadonlySet<string>;
  readonly output: string;
  /** Memory that the runtime may read frozen weights from for as long as it lives; the protobuf it has read. */
  readonly external: BuiltGraph['external'];
  readonly #session: InferenceSession;

  private constructor(session: InferenceSession, { inputs, outputs, external }: BuiltGraph) {
    this.#session = session;
    this.external = external;
    this.output = outputs[0]!.name;
    this.inputs = new Set(inputs.map(({ name }) => name));
  }

  /** @throws OnebyteError ENGINE_FAILED when the runtime refuses the graph, or there is no memory for it */
  static async open(graph: BuiltGraph, { threads }: SessionOptions): Promise<Session> {
    // The process's own, as the runtime's own settings are: the engine's threads inherit it.
    const device = deviceOf(process.env[DEVICE_VARIABLE]);
    try {
      const session = await throughGate(() =>
        InferenceSession.create(graph.bytes, {
          ...(graph.external.length > 0 && { externalData: [...graph.external] }),
          executionProviders: device === 'cpu' ? ['cpu'] : [device, 'cpu'],
          intraOpNumThreads: threads,
          interOpNumThreads: 1,
          ...leftInFiles(graph),
          // Its errors are thrown, and say the same.
          logSeverityLevel: 4,
        }),
      );
      return new Session(session, graph);
    } catch (cause) {
      const on = device === 'cpu' ? '' : ` on ${device} (${DEVICE_VARIABLE})`;
      throw failure(`ONNX Runtime cannot load the model${on}`, cause);
    }
  }

  async run(feeds: Readonly<Record<string, Feed>>): Promise<Outputs> {
    const tensors: Record<string, Tensor> = {};
    for (const [name, { data, dims }] of Object.entries(feeds)) {
      if (this.inputs.has(name)) tensors[name] = tensorOf(data, dims);
    }
    try {
      const outputs = await throughGate(() => this.#session.run(tensors));
      return Object.fromEntries(
        Object.entries(outputs).map(([name, value]) => [name, value.data as Float32Array]),
      );
    } catch (cause) {
      throw failure('a forward pass failed', cause);
    }
  }

  async close(): Promise<void> {
    await throughGate(() => this.#session.release());
  }
}

function tensorOf(data: Feed['data'], dims: readonly number[]): Tensor {
  switch (data.constructor) {
    case Float32Array:
      return new Tensor('float32', data as Float32Array, dims);
    case Int32Array:
      return new Tensor('int32', data as Int32Array, dims);
    case Int8Array:
      return new Tensor('int8', data as Int8Array, dims);
    default:
      return new Tensor('uint8', data as Uint8Array, dims);
  }
}

/** How weights that stay in files are used from there. */
function leftInFiles({ folder, leave }: BuiltGraph): Partial<InferenceSession.SessionOptions> {
  // Idle threads that spin take the cores from the state's kernels and from other workers on this machine.
  const session = { intra_op: { allow_spinning: '0' } };
  if (folder === undefined) return { extra: { session } };
  const mapped = { ...session, model_external_initializers_file_folder_path: folder };
  if (leave === 'as is') return { extra: { session: mapped } };
  return {
    extra: {
      session: leave === 'mapped' ? { ...mapped, disable_prepacking: '1' } : mapped,
      optimization: { disable_specified_optimizers: 'ConstantFolding' },
    },
    // The levels above this one have a folding of their own: of the casts that widen scales.
    graphOptimizationLevel: 'extended',
    // An arena takes powers of two, and keeps them; a call's tensors have one block of memory as it is (`enableMemPattern`).
    enableCpuMemArena: false,
  };
}

function failure(what: string, cause: unknown): OnebyteError {
  return new OnebyteError('ENGINE_FAILED', `${what}: ${(cause as Error).message}`, {
    cause,
    remedy: 'if memory ran out, use a smaller batch or fewer tokens',
  });
}
