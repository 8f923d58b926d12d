import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { BuiltGraph } from '../../worker/model/graph.ts';

export interface Value {
  readonly dims: readonly number[];
  readonly data: Float32Array | Int32Array;
}

export interface GraphRun {
  run(feeds: Readonly<Record<string, Value>>): Promise<Record<string, Value>>;
  close(): Promise<void>;
}

/** Opens a graph as the engine does; every dimension that a port fixes is checked on the way in and out. */
export async function openGraph(graph: BuiltGraph, threads = 1): Promise<GraphRun> {
  const session = await InferenceSession.create(graph.bytes, {
    ...(graph.external.length > 0 && { externalData: [...graph.external] }),
    ...(graph.folder !== undefined && {
      extra: { session: { model_external_initializers_file_folder_path: graph.folder } },
    }),
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionProviders: ['cpu'],
    logSeverityLevel: 3,
  });
  return {
    async run(feeds) {
      const tensors = graph.inputs.map(({ name, dtype }) => {
        const { data, dims } = feeds[name]!;
        return [name, new Tensor(dtype, data, dims)] as const;
      });
      const results = await session.run(Object.fromEntries(tensors));
      const values = graph.outputs.map(({ name }) => {
        const { data, dims } = results[name]!;
        return [name, { data: data as Float32Array, dims }] as const;
      });
      return Object.fromEntries(values);
    },
    close: () => session.release(),
  };
}

/** Token ids of several texts as one padded batch. */
export function batchOf(rows: readonly ArrayLike<number>[], padId = 0): Record<string, Value> {
  const tokens = Math.max(...rows.map((row) => row.length));
  const ids = new Int32Array(rows.length * tokens).fill(padId);
  const mask = new Int32Array(rows.length * tokens);
  rows.forEach((row, i) => {
    ids.set(row, i * tokens);
    mask.fill(1, i * tokens, i * tokens + row.length);
  });
  const dims = [rows.length, tokens];
  return { input_ids: { dims, data: ids }, attention_mask: { dims, data: mask } };
}

/** Largest absolute difference; a different length or a NaN is infinitely far. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    const gap = Math.abs(a[i]! - b[i]!);
    if (!(gap <= most)) most = Number.isNaN(gap) ? Number.POSITIVE_INFINITY : gap;
  }
  return most;
}
