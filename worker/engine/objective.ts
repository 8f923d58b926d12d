import { OnebyteError } from '../errors.ts';
import type { ClassificationTask, TaskSpec } from '../journal/job.ts';
import type { Model } from '../model/family.ts';
import type { GraphOptions } from '../model/graph.ts';
import type { TextTokenizer } from '../model/tokenizer.ts';

/** What a task makes of a graph's end. */
export type Objective = Pick<GraphOptions, 'end' | 'labels' | 'words' | 'pooling'>;

type HeadTask = ClassificationTask & { readonly words?: undefined };

/** Whether a task trains a new head: a classification without words. */
export function hasHead(task: TaskSpec): task is HeadTask {
  return task.type === 'classification' && task.words === undefined;
}

/**
 * The end of a task's graphs, apart from which tokens its words are.
 * @throws OnebyteError TASK_UNSUPPORTED where the model cannot do the task
 */
export function endOf(task: TaskSpec, model: Model): Objective {
  const { pooling } = task;
  if (hasHead(task)) return { end: 'head', pooling, labels: task.labels.length };
  const fills = task.type === 'masked-lm';
  if (fills ? !model.fillsGaps : !model.generates) {
    const what = fills ? 'fill gaps: it has no masked-lm head' : 'predict the next token: it is no decoder';
    throw new OnebyteError('TASK_UNSUPPORTED', `the model cannot ${what}`, {
      field: task.type === 'classification' ? 'task.words' : 'task.type',
      remedy: fills
        ? 'use an encoder whose weights have cls.predictions'
        : 'use a model of the Llama family, or a classification with a new head',
    });
  }
  if (task.type !== 'classification') return { end: 'tokens', pooling };
  // Placeholders: which inputs a graph has does not depend on the words.
  const words = task.labels.map((_, i) => i);
  return { end: 'words', pooling, labels: words.length, words };
}

/**
 * The same with the words' tokens.
 * @throws OnebyteError TASK_UNSUPPORTED, LABELS_INVALID where two words begin with the same token
 */
export function objectiveOf(task: TaskSpec, model: Model, tokenizer: TextTokenizer): Objective {
  const end = endOf(task, model);
  if (end.end !== 'words' || task.type !== 'classification') return end;
  const words = task.words!.map((word) => tokenizer.pieces(word)[0] ?? -1);
  const twice = words.findIndex((token, i) => token < 0 || words.indexOf(token) < i);
  if (twice < 0) return { ...end, words };
  const [word, other] = [twice, words.indexOf(words[twice]!)].map((i) => JSON.stringify(task.words![i!]));
  throw new OnebyteError(
    'LABELS_INVALID',
    words[twice]! < 0
      ? `the word ${word} has no token`
      : `the words ${other} and ${word} begin with the same token, so they cannot be told apart`,
    { field: 'task.words', remedy: 'choose words whose first tokens differ' },
  );
}
