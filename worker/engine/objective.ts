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
 * The same with the words' tokens. The score of a word is that of its one token, in the place of the prompt's end: a
 * word of several would need a text of its own for each label.
 * @throws OnebyteError TASK_UNSUPPORTED, LABELS_INVALID where a word is not one token, or two words are the same
 */
export function objectiveOf(task: TaskSpec, model: Model, tokenizer: TextTokenizer): Objective {
  const end = endOf(task, model);
  if (end.end !== 'words' || task.type !== 'classification') return end;
  const words: number[] = [];
  for (const word of task.words!) {
    const tokens = tokenizer.continued(word);
    const [token] = tokens;
    if (tokens.length !== 1 || token === undefined) {
      const pieces = tokens.length === 0 ? 'no token' : `${tokens.length} tokens`;
      refuseWords(
        `the word ${JSON.stringify(word)} has ${pieces} of this model, not one`,
        'choose words that are one token each; most begin with a space, as in " great"',
      );
    }
    const other = words.indexOf(token);
    if (other >= 0) {
      const [a, b] = [task.words![other], word].map((text) => JSON.stringify(text));
      refuseWords(`the words ${a} and ${b} are the same token`, 'choose words that differ');
    }
    words.push(token);
  }
  return { ...end, words };
}

function refuseWords(message: string, remedy: string): never {
  throw new OnebyteError('LABELS_INVALID', message, { field: 'task.words', remedy });
}
