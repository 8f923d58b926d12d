import { OnebyteError } from '../errors.ts';
import type { ClassificationTask, TaskSpec } from '../journal/job.ts';
import type { TextTokenizer } from '../model/tokenizer.ts';
import { causalReader } from './causal.ts';
import { Labels } from './labels.ts';
import { maskedReader } from './masked.ts';
import { cutStart } from './sequence.ts';
import { compileTemplate, type Row, type RowPlace, type Template } from './template.ts';

/** Rows of one source with what it changes of the task. */
export interface SourceRows {
  readonly name: string;
  readonly rows: Iterable<Row>;
  /** Replace the task's templates. */
  readonly text?: string | undefined;
  readonly prompt?: string | undefined;
  readonly completion?: string | undefined;
  readonly messages?: string | undefined;
  readonly label?: string | undefined;
}

/** Tokens of one row that are to be predicted. */
export interface Predictions {
  /** Place in the row of what predicts it: for a causal model the token before. */
  readonly at: Int32Array;
  /** The token that is right. */
  readonly tokens: Int32Array;
}

/** What the engine reads of a split: token ids and what is to be predicted, row by row. */
export interface Examples {
  readonly ids: readonly Int32Array[];
  /** Class numbers; zeros where there are no classes. */
  readonly labels: Int32Array;
  /** Of tasks whose targets are tokens. */
  readonly predictions?: readonly Predictions[];
  /** Rows whose text was longer than the task or the model allows and lost a part. */
  readonly truncated: number;
}

/** One row, read. */
export interface Example {
  readonly ids: Int32Array;
  readonly label?: number;
  readonly predictions?: Predictions;
  readonly truncated: boolean;
}

export type ExampleReader = (row: Row, place: RowPlace) => Example;

export const NO_EXAMPLES: Examples = { ids: [], labels: new Int32Array(0), truncated: 0 };

/** Tokens that a text may have: what the task asks for, within what the model has positions for. */
export function tokenLimit(task: Pick<TaskSpec, 'maxTokens'>, positions: number): number {
  return Math.min(task.maxTokens, positions);
}

/**
 * Renders, labels and tokenises the rows of all sources, one after the other.
 * @param positions the model's longest sequence
 * @throws OnebyteError ROW_FIELD_MISSING, LABEL_UNKNOWN, TEMPLATE_INVALID, LABELS_INVALID, CHAT_INVALID,
 *   COMPLETION_EMPTY, TEXT_EMPTY, TASK_UNSUPPORTED
 */
export function prepareExamples(
  task: TaskSpec,
  tokenizer: TextTokenizer,
  positions: number,
  sources: Iterable<SourceRows>,
): Examples {
  const limit = tokenLimit(task, positions);
  const examples: Example[] = [];
  for (const source of sources) {
    const read = readerOf(task, tokenizer, limit, source);
    let number = 0;
    for (const row of source.rows) examples.push(read(row, { source: source.name, row: number++ }));
  }
  const common = {
    ids: examples.map(({ ids }) => ids),
    labels: Int32Array.from(examples, ({ label }) => label ?? 0),
    truncated: examples.reduce((sum, { truncated }) => sum + Number(truncated), 0),
  };
  if (task.type === 'classification') return common;
  return { ...common, predictions: examples.map(({ predictions }) => predictions!) };
}

function readerOf(
  task: TaskSpec,
  tokenizer: TextTokenizer,
  limit: number,
  source: SourceRows,
): ExampleReader {
  if (task.type === 'causal-lm') return causalReader(task, tokenizer, limit, source);
  if (task.type === 'masked-lm') return maskedReader(task, tokenizer, limit, source);
  return classReader(task, tokenizer, limit, source);
}

function classReader(
  task: ClassificationTask,
  tokenizer: TextTokenizer,
  limit: number,
  source: SourceRows,
): ExampleReader {
  const labels = new Labels(task.labels);
  const text = textTemplate(task, source);
  const label = labelTemplate(task, source);
  return (row, place) => {
    const rendered = text.render(row, place);
    // The word follows the prompt's end, so that a prompt that is too long loses its start.
    const encoded =
      task.words === undefined ? tokenizer.encode(rendered, limit) : cutStart(tokenizer, rendered, limit);
    if (encoded.ids.length === 0) throw textEmpty(place);
    return { ...encoded, label: labels.indexOf(label.render(row, place), place) };
  };
}

function textEmpty({ row, source }: RowPlace): OnebyteError {
  return new OnebyteError('TEXT_EMPTY', `row ${row + 1} of source '${source}' has no text`, {
    field: 'task.text',
    remedy: 'leave the row out, or write something into task.text beside its fields',
  });
}

/** Token ids of text without labels, such as a basis's calibration text. */
export function prepareTexts(
  task: TaskSpec,
  tokenizer: TextTokenizer,
  positions: number,
  source: SourceRows,
): Int32Array[] {
  const text = textTemplate({ text: '{text}', ...task }, source);
  const limit = tokenLimit(task, positions);
  return Array.from(source.rows, (row, number) => {
    return tokenizer.encode(text.render(row, { source: source.name, row: number }), limit).ids;
  });
}

function textTemplate(task: { readonly text: string }, source: SourceRows): Template {
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
