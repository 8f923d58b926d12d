import type { CausalTask } from '../journal/job.ts';
import type { TextTokenizer } from '../model/tokenizer.ts';
import { chatReader } from './chat.ts';
import type { ExampleReader, SourceRows } from './examples.ts';
import { type Segment, sequence } from './sequence.ts';
import { compileTemplate } from './template.ts';

/**
 * Reads rows for a causal model: a text, all of whose tokens are predicted; or a prompt, which is read, and its
 * completion, which is predicted; or a chat. A text and a completion end with the model's end token. Prompt and
 * completion are tokenised apart, as they are where the model is used; the completion as what follows the prompt.
 */
export function causalReader(
  task: CausalTask,
  tokenizer: TextTokenizer,
  limit: number,
  source: SourceRows,
): ExampleReader {
  const { text, prompt, completion, messages } = templatesOf(task, source);
  if (messages !== undefined) return chatReader(messages, tokenizer, limit);
  const end = tokenizer.endId === undefined ? [] : [segment(Int32Array.of(tokenizer.endId), true)];
  const own = source.text !== undefined || source.prompt !== undefined;
  const nameOf = (field: string) => (own ? `${field} of source ${source.name}` : `task.${field}`);
  if (text !== undefined) {
    const template = compileTemplate(nameOf('text'), text);
    return (row, place) => {
      const tokens = tokenizer.pieces(template.render(row, place));
      return sequence(tokenizer, [segment(tokens, true), ...end], limit, place);
    };
  }
  const before = compileTemplate(nameOf('prompt'), prompt!);
  const after = compileTemplate(nameOf('completion'), completion!);
  return (row, place) => {
    const asked = before.render(row, place);
    const answer = tokenizer.continued(after.render(row, place), asked);
    const parts = [segment(tokenizer.pieces(asked), false), segment(answer, true)];
    // An end alone is no completion.
    return sequence(tokenizer, answer.length === 0 ? parts : [...parts, ...end], limit, place);
  };
}

function segment(tokens: Int32Array, scored: boolean): Segment {
  return { tokens, scored };
}

/** What the source says in place of the task; a source that says one thing takes the others away. */
function templatesOf(task: CausalTask, source: SourceRows) {
  const { text, prompt, completion, messages } = source;
  if (text !== undefined || messages !== undefined) return { text, messages };
  if (prompt === undefined && completion === undefined) return task;
  return { prompt: prompt ?? task.prompt, completion: completion ?? task.completion };
}
