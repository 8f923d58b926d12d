import type { ClassificationTask } from '../journal/job.ts';
import type { TextTokenizer } from '../model/tokenizer.ts';
import { Labels } from './labels.ts';
import { compileTemplate, type Row, type Template } from './template.ts';

/** Rows of one source with what it changes of the task. */
export interface SourceRows {
  readonly name: string;
  readonly rows: Iterable<Row>;
  /** Replace the task's templates. */
  readonly text?: string | undefined;
  readonly label?: string | undefined;
}

/** What the engine reads of a split: token ids and class numbers, row by row. */
export interface Examples {
  readonly ids: readonly Int32Array[];
  readonly labels: Int32Array;
  /** Rows whose text was longer than the task or the model allows and lost its end. */
  readonly truncated: number;
}

export const NO_EXAMPLES: Examples = { ids: [], labels: new Int32Array(0), truncated: 0 };

/** Tokens that a text may have: what the task asks for, within what the model has positions for. */
export function tokenLimit(task: Pick<ClassificationTask, 'maxTokens'>, positions: number): number {
  return Math.min(task.maxTokens, positions);
}

/**
 * Renders, labels and tokenises the rows of all sources, one after the other.
 * @param positions the model's longest sequence
 * @throws OnebyteError ROW_FIELD_MISSING, LABEL_UNKNOWN, TEMPLATE_INVALID, LABELS_INVALID
 */
export function prepareExamples(
  task: ClassificationTask,
  tokenizer: TextTokenizer,
  positions: number,
  sources: Iterable<SourceRows>,
): Examples {
  const labels = new Labels(task.labels);
  const limit = tokenLimit(task, positions);
  const ids: Int32Array[] = [];
  const classes: number[] = [];
  let truncated = 0;
  for (const source of sources) {
    const text = textTemplate(task, source);
    const label = labelTemplate(task, source);
    let number = 0;
    for (const row of source.rows) {
      const place = { source: source.name, row: number++ };
      const tokens = tokenizer.encode(text.render(row, place), limit);
      classes.push(labels.indexOf(label.render(row, place), place));
      ids.push(tokens.ids);
      if (tokens.truncated) truncated++;
    }
  }
  return { ids, labels: Int32Array.from(classes), truncated };
}

/** Token ids of text without labels, such as a basis's calibration text. */
export function prepareTexts(
  task: ClassificationTask,
  tokenizer: TextTokenizer,
  positions: number,
  source: SourceRows,
): Int32Array[] {
  const text = textTemplate(task, source);
  const limit = tokenLimit(task, positions);
  return Array.from(source.rows, (row, number) => {
    return tokenizer.encode(text.render(row, { source: source.name, row: number }), limit).ids;
  });
}

function textTemplate(task: ClassificationTask, source: SourceRows): Template {
  const own = source.text !== undefined;
  return compileTemplate(own ? `text of source ${source.name}` : 'task.text', source.text ?? task.text);
}

/** `label: sentiment` names the field itself; with braces it is a template like any other. */
function labelTemplate(task: ClassificationTask, source: SourceRows): Template {
  const own = source.label !== undefined;
  const text = source.label ?? task.label;
  return compileTemplate(
    own ? `label of source ${source.name}` : 'task.label',
    /[{}]/.test(text) ? text : `{${text}}`,
  );
}
