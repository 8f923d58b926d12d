/** Frozen features of the sentiment example's rows: mean-pooled outputs of the base model. */
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { sourcesFor, toJobSpec } from '../../crds/job-spec.ts';
import { parseJobFile } from '../../crds/validate.ts';
import { resolveModel } from '../../worker/data/cache.ts';
import { loadRows, nameOf } from '../../worker/data/rows.ts';
import type { Split } from '../../worker/journal/ledger.ts';
import { openModelFolder } from '../../worker/model/folder.ts';
import { chunksByLength, padBatch } from '../../worker/task/batch.ts';
import { prepareExamples } from '../../worker/task/examples.ts';
import type { Features } from './logistic.ts';

const ROWS_PER_CALL = 32;

/** Features of every group's rows, one after the other. */
export async function featuresOf(file: string, splits: readonly Split[]): Promise<Record<Split, Features>> {
  const { job } = parseJobFile(readFileSync(file, 'utf8'));
  const spec = toJobSpec(job!);
  const folder = dirname(file);
  const { model, tokenizer } = await openModelFolder(await resolveModel(spec.model, { folder }));
  const graph = model.graph({ from: 'ids', to: 'pooled', pooling: spec.task.pooling, labels: 2 });
  const session = await InferenceSession.create(graph.bytes, { externalData: [...graph.external] });
  const result = {} as Record<Split, Features>;
  for (const split of splits) {
    const sources = job!.spec.groups!.flatMap(({ name }) => sourcesFor(job!.spec, name)[split]);
    const rows = await Promise.all(
      sources.map(async (source) => ({ name: nameOf(source), rows: await loadRows(source, { folder }) })),
    );
    const examples = prepareExamples(spec.task, tokenizer, model.maxTokens, rows);
    const all = Int32Array.from(examples.ids, (_, i) => i);
    const values = new Float32Array(all.length * model.hidden);
    for (const chunk of chunksByLength(examples, all, { rows: ROWS_PER_CALL })) {
      const { ids, mask, count, tokens } = padBatch(examples, chunk, tokenizer.padId);
      const output = await session.run({
        input_ids: new Tensor('int32', ids, [count, tokens]),
        attention_mask: new Tensor('int32', mask, [count, tokens]),
      });
      const pooled = output[graph.outputs[0]!.name]!.data as Float32Array;
      for (const [i, row] of chunk.entries())
        values.set(pooled.subarray(i * model.hidden, (i + 1) * model.hidden), row * model.hidden);
    }
    result[split] = { values, width: model.hidden, labels: examples.labels };
  }
  await session.release();
  return result;
}
