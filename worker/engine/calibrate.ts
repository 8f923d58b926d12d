import { hashWords } from '../direction/seed.ts';
import { OnebyteError } from '../errors.ts';
import type { Model } from '../model/family.ts';
import { chunksByLength, padBatch } from '../task/batch.ts';
import type { Examples } from '../task/examples.ts';
import { type Basis, quantiseRows, randomSigns, siteName } from './basis.ts';
import { leadingEigenvectors, OVERSAMPLING } from './eigen.ts';
import { openForward } from './evaluators/forward.ts';
import { DECODER_TOKENS } from './evaluators/runner.ts';

/** Second moments of what the matrices of each site read: the mean over tokens of x x^T, [width, width]. */
export type Moments = ReadonlyMap<string, { readonly width: number; readonly values: Float64Array }>;

/** Rows of one forward pass. */
const ROWS = 32;

/**
 * Measures the second moments of the inputs of some sites over text.
 * @param texts token ids of each row
 * @param padId fills the end of shorter rows
 * @throws OnebyteError ENGINE_FAILED, BASIS_INVALID when the model's activations are not finite
 */
export async function measureMoments(
  model: Model,
  texts: readonly Int32Array[],
  sites: Iterable<string>,
  { padId, threads }: { readonly padId: number; readonly threads: number },
): Promise<Moments> {
  const wanted = new Set(sites);
  // Any matrix of a site speaks for it.
  const readers = new Map(model.matrices.map((m) => [siteName(m.layer, m.kind), m]));
  const chosen = [...readers].filter(([site]) => wanted.has(site));
  const last = Math.max(...chosen.map(([, matrix]) => matrix.layer)) + 1;
  const moments = chosen.map(([, { name }]) => name);
  const graph = { from: 'ids', to: { layer: last }, pooling: 'mean', moments } as const;
  const session = await openForward(model, graph, { threads });
  const sums = new Map(
    chosen.map(([site, m]) => [site, { width: m.in, values: new Float64Array(m.in * m.in) }]),
  );
  const examples: Examples = { ids: texts, labels: new Int32Array(texts.length), truncated: 0 };
  const all = Int32Array.from(texts, (_, i) => i);
  const share = 1 / texts.reduce((sum, ids) => sum + ids.length, 0);
  try {
    const limit = { rows: ROWS, tokens: model.generates ? DECODER_TOKENS : undefined };
    for (const rows of chunksByLength(examples, all, limit)) {
      const { ids, mask, count, tokens } = padBatch(examples, rows, padId);
      const dims = [count, tokens];
      const outputs = await session.run({
        input_ids: { data: ids, dims },
        attention_mask: { data: mask, dims },
      });
      for (const [site, { name }] of chosen) {
        const { values } = sums.get(site)!;
        const part = outputs[`${name}.moment`]!;
        for (let i = 0; i < values.length; i++) values[i] = values[i]! + part[i]! * share;
      }
    }
  } finally {
    await session.close();
  }
  for (const [site, { values }] of sums) {
    if (!values.every(Number.isFinite)) {
      throw new OnebyteError('BASIS_INVALID', `what the layers read at ${site} is not finite`, {
        field: 'model.uri',
        remedy: 'check the base model for infinities and NaN',
      });
    }
  }
  return sums;
}

/**
 * Leading eigenvectors of the moments of each site, as int8 rows: a function of the moments alone.
 * @param rows how many vectors each site needs
 */
export function basisOf(moments: Moments, rows: ReadonlyMap<string, { readonly rows: number }>): Basis {
  return new Map(
    [...moments].map(([site, { width, values }]) => {
      const count = rows.get(site)!.rows;
      const words = hashWords('onebyte/calibrate/1', [new TextEncoder().encode(site)]);
      const start = randomSigns(words, Math.min(width, count + OVERSAMPLING) * width);
      const { vectors } = leadingEigenvectors(values, width, count, start);
      return [site, quantiseRows(vectors, count, width)];
    }),
  );
}
