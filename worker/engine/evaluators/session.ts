import { InferenceSession, Tensor } from 'onnxruntime-node';
import { OnebyteError } from '../../errors.ts';
import type { BuiltGraph } from '../../model/graph.ts';
import { DEVICE_VARIABLE, deviceOf } from '../device.ts';
import { throughGate } from '../exit-gate.ts';

/** What a graph is fed: memory and dims. The memory is read where it lies, also when it is shared. */
export interface Feed {
  readonly data: Float32Array | Int32Array;
  readonly dims: readonly number[];
}

export interface SessionOptions {
  /** Threads of the forward pass. */
  readonly threads: number;
}

/** A graph that is ready to run. */
export class Session {
  readonly inputs: ReadonlySet<string>;
  readonly #session: InferenceSession;
  /** The runtime may read frozen weights where they lie for as long as it lives. */
  readonly #graph: BuiltGraph;

  private constructor(session: InferenceSession, graph: BuiltGraph) {
    this.#session = session;
    this.#graph = graph;
    this.inputs = new Set(graph.inputs.map(({ name }) => name));
  }

  /** @throws OnebyteError ENGINE_FAILED when the runtime refuses the graph, or there is no memory for it */
  static async open(graph: BuiltGraph, { threads }: SessionOptions): Promise<Session> {
    const { left, unfolded } = leftInFiles(graph);
    // The process's own, as the runtime's own settings are: the engine's threads inherit it.
    const device = deviceOf(process.env[DEVICE_VARIABLE]);
    try {
      const session = await throughGate(() =>
        InferenceSession.create(graph.bytes, {
          ...(graph.external.length > 0 && { externalData: [...graph.external] }),
          executionProviders: device === 'cpu' ? ['cpu'] : [device, 'cpu'],
          intraOpNumThreads: threads,
          interOpNumThreads: 1,
          // Idle threads that spin take the cores from the state's kernels and from other workers on this machine.
          extra: { session: { intra_op: { allow_spinning: '0' }, ...left }, ...unfolded },
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

  /** First output of the graph, by whatever name. */
  get output(): string {
    return this.#graph.outputs[0]!.name;
  }

  /**
   * Runs the graph. Feeds that it has no input for are left out.
   * @throws OnebyteError ENGINE_FAILED
   */
  async run(feeds: Readonly<Record<string, Feed>>): Promise<Readonly<Record<string, Float32Array>>> {
    const tensors: Record<string, Tensor> = {};
    for (const [name, { data, dims }] of Object.entries(feeds)) {
      if (this.inputs.has(name))
        tensors[name] = new Tensor(data instanceof Int32Array ? 'int32' : 'float32', data, dims);
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

/** How weights that stay in files are used from there. */
function leftInFiles({ folder, leave }: BuiltGraph): { left: Record<string, string>; unfolded: object } {
  if (folder === undefined) return { left: {}, unfolded: {} };
  const mapped = { model_external_initializers_file_folder_path: folder };
  return {
    left: leave === 'mapped' ? { ...mapped, disable_prepacking: '1' } : mapped,
    unfolded: leave === 'as is' ? {} : { optimization: { disable_specified_optimizers: 'ConstantFolding' } },
  };
}

function failure(what: string, cause: unknown): OnebyteError {
  return new OnebyteError('ENGINE_FAILED', `${what}: ${(cause as Error).message}`, {
    cause,
    remedy: 'if memory ran out, use a smaller batch or fewer tokens',
  });
}
