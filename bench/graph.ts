/**
 * Examples a second of BERT's graphs on the real MiniLM: weights as inputs, and batched adapters, against packed
 * inference at its best batch. Every variant takes its turn in every repetition, and the best repetition counts, so
 * that other work on the machine falls on all alike.
 *
 *     node bench/graph.ts [--threads 1,2] [--tokens 32] [--rank 8] [--repeat 6]
 */
import { parseArgs } from 'node:util';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { minilm } from '../test/model/minilm.ts';
import { openModelFolder } from '../worker/model/folder.ts';
import type { Adapters, BuiltGraph } from '../worker/model/graph.ts';

const { values } = parseArgs({
  options: {
    threads: { type: 'string', default: '2,1' },
    tokens: { type: 'string', default: '32' },
    rank: { type: 'string', default: '8' },
    repeat: { type: 'string', default: '6' },
  },
});
const tokens = Number(values.tokens);
const rank = Number(values.rank);
const LABELS = 2;

const { model } = await openModelFolder(await minilm());

interface Variant {
  readonly title: string;
  readonly graph: BuiltGraph;
  readonly probes: number;
  /** Examples of each probe. */
  readonly examples: number;
}

/** A fixed pattern of small numbers: speed does not depend on them, denormals and zeros aside. */
const small = (length: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => ((i % 17) - 8) / 1000);

function subspace(): Adapters {
  const shared = new Map<string, Float32Array>();
  const bases = model.matrices.map((m) => {
    // Query, key and value see the same input, so their basis is the same.
    const key = ['query', 'key', 'value'].includes(m.kind) ? `${m.layer}` : m.name;
    const data = shared.get(key) ?? small(rank * m.in);
    shared.set(key, data);
    return [m.name, { dims: [rank, m.in], data }] as const;
  });
  return { type: 'subspace', rank, bases: new Map(bases) };
}

const lora: Adapters = { type: 'lora', rank, alpha: rank, matrices: model.matrices.map((m) => m.name) };
const base = { from: 'ids', to: 'loss', pooling: 'mean', labels: LABELS } as const;
const packed = model.graph(base);
const fed = model.graph({ ...base, inputs: new Set(model.matrices.map((m) => `${m.name}.weight`)) });
const low = model.graph({ ...base, adapters: subspace() });
const factors = model.graph({ ...base, adapters: lora });
// The layers below are frozen and their output is cached: what the engine does when only upper layers are tuned.
const upper = model.graph({ ...base, from: model.layers - 2, adapters: subspace() });

const variants: Variant[] = [8, 16, 32, 64].flatMap((examples) => [
  { title: `packed, batch ${examples}`, graph: packed, probes: 1, examples },
  { title: `weights as inputs, batch ${examples}`, graph: fed, probes: 1, examples },
]);
for (const [probes, examples] of [
  [1, 16],
  [2, 16],
  [4, 16],
  [1, 32],
  [2, 32],
  [1, 64],
  [2, 8],
  [4, 8],
] as const) {
  variants.push({ title: `subspace, ${probes} probes x ${examples}`, graph: low, probes, examples });
  variants.push({ title: `lora, ${probes} probes x ${examples}`, graph: factors, probes, examples });
}
for (const [probes, examples] of [
  [2, 16],
  [4, 8],
] as const) {
  const title = `subspace of the last 2 layers, ${probes} probes x ${examples}`;
  variants.push({ title, graph: upper, probes, examples });
}

function feedsOf({ graph, probes, examples }: Variant): Record<string, Tensor> {
  const size: Record<string, number> = { probes, examples, tokens };
  const feeds = graph.inputs.map(({ name, dims, dtype }) => {
    const shape = dims.map((d) => (typeof d === 'number' ? d : size[d]!));
    const length = shape.reduce((a, b) => a * b, 1);
    const weight = model.weights.get(name)?.data;
    if (dtype === 'float32') return [name, new Tensor('float32', weight ?? small(length), shape)] as const;
    const ids = Int32Array.from({ length }, (_, i) => 1000 + ((i * 37) % 20000));
    const ones = new Int32Array(length).fill(name === 'labels' ? 0 : 1);
    return [name, new Tensor('int32', name === 'input_ids' ? ids : ones, shape)] as const;
  });
  return Object.fromEntries(feeds);
}

const open = new Map<BuiltGraph, InferenceSession>();
for (const threads of values.threads.split(',').map(Number)) {
  for (const graph of [packed, fed, low, factors, upper]) {
    open.set(
      graph,
      await InferenceSession.create(graph.bytes, {
        externalData: [...graph.external],
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        logSeverityLevel: 3,
      }),
    );
  }
  const rows = variants.map((variant) => ({ variant, feeds: feedsOf(variant), rate: 0 }));
  for (let repeat = 0; repeat < Number(values.repeat); repeat++) {
    for (const row of rows) {
      const { graph, probes, examples } = row.variant;
      const calls = Math.max(1, Math.round(64 / (probes * examples)));
      const start = performance.now();
      for (let call = 0; call < calls; call++) await open.get(graph)!.run(row.feeds);
      const seconds = (performance.now() - start) / 1000;
      row.rate = Math.max(row.rate, (calls * probes * examples) / seconds);
    }
  }
  const best = Math.max(...rows.filter(({ variant }) => variant.graph === packed).map(({ rate }) => rate));
  console.log(
    `\n${threads} thread(s), ${tokens} tokens, rank ${rank}: examples/s, and share of packed at its best batch`,
  );
  for (const { variant, rate } of rows) {
    console.log(`${variant.title.padEnd(44)} ${rate.toFixed(0).padStart(5)}  ${(rate / best).toFixed(2)}`);
  }
  for (const session of open.values()) await session.release();
}
