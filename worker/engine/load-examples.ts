import { type DataContext, loadRows, nameOf } from '../data/rows.ts';
import type { SourceSpec, TaskSpec } from '../journal/job.ts';
import type { ModelFolder } from '../model/folder.ts';
import { type Examples, prepareExamples } from '../task/examples.ts';

/**
 * Reads the sources of one split as the task and the model want them.
 * @throws OnebyteError what `loadRows` and `prepareExamples` throw
 */
export async function loadExamples(
  task: TaskSpec,
  { model, tokenizer }: Pick<ModelFolder, 'model' | 'tokenizer'>,
  sources: readonly SourceSpec[],
  context: DataContext,
): Promise<Examples> {
  const loaded = await Promise.all(
    sources.map(async (source) => {
      const { text, prompt, completion, messages, label } = source;
      const rows = await loadRows(source, context);
      return { name: nameOf(source), rows, text, prompt, completion, messages, label };
    }),
  );
  return prepareExamples(task, tokenizer, model.maxTokens, loaded);
}
