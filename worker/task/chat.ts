import { Template } from '@huggingface/jinja';
import { OnebyteError } from '../errors.ts';
import type { TextTokenizer } from '../model/tokenizer.ts';
import type { ExampleReader } from './examples.ts';
import { type Segment, sequence } from './sequence.ts';
import type { Row, RowPlace } from './template.ts';

interface Message {
  readonly role: string;
  readonly content: string;
}

/**
 * Reads chats: the model's own template writes them, and the assistant's turns are predicted. A turn is what the
 * template adds when the message is there to what it writes to ask for one.
 * @throws OnebyteError TASK_UNSUPPORTED where the model has no template
 */
export function chatReader(field: string, tokenizer: TextTokenizer, limit: number): ExampleReader {
  const render = renderer(tokenizer);
  return (row, place) => {
    const messages = messagesOf(row, field, place);
    const segments: Segment[] = [];
    let written = '';
    const add = (text: string, scored: boolean) => {
      if (!text.startsWith(written))
        throw invalid(
          place,
          'the template writes earlier turns anew when one follows, so they have no place',
        );
      segments.push({ tokens: tokenizer.continued(text.slice(written.length), written), scored });
      written = text;
    };
    for (const [i, { role }] of messages.entries()) {
      if (role !== 'assistant') continue;
      add(render(messages.slice(0, i), true, place), false);
      add(render(messages.slice(0, i + 1), false, place), true);
    }
    // The template writes the opening token itself, where it wants one.
    return sequence({ ...tokenizer, opening: new Int32Array(0) }, segments, limit, place);
  };
}

function renderer(tokenizer: TextTokenizer) {
  const { chatTemplate } = tokenizer;
  if (chatTemplate === undefined) {
    throw new OnebyteError('TASK_UNSUPPORTED', 'the model has no chat template', {
      field: 'task.messages',
      remedy: 'use a model that was made for chats, or write prompt and completion yourself',
    });
  }
  let template: Template;
  try {
    template = new Template(chatTemplate);
  } catch (cause) {
    throw new OnebyteError(
      'MODEL_CONFIG_INVALID',
      `the model's chat template is no Jinja: ${(cause as Error).message}`,
      {
        field: 'chat_template',
        cause,
        remedy: 'use the template that was published with the model',
      },
    );
  }
  return (messages: readonly Message[], ask: boolean, place: RowPlace): string => {
    try {
      return template.render({
        messages,
        add_generation_prompt: ask,
        bos_token: tokenizer.openingText,
        eos_token: tokenizer.endText,
      });
    } catch (cause) {
      throw invalid(place, `the template refuses it: ${(cause as Error).message}`, cause);
    }
  };
}

function messagesOf(row: Row, field: string, place: RowPlace): Message[] {
  const value = Object.hasOwn(row, field) ? row[field] : undefined;
  const isMessage = (item: unknown): item is Message => {
    const { role, content } = (item ?? {}) as Partial<Record<string, unknown>>;
    return typeof role === 'string' && typeof content === 'string';
  };
  if (!Array.isArray(value) || !value.every(isMessage)) {
    const found = Object.keys(row).join(', ') || 'no fields';
    throw invalid(
      place,
      `'${field}' is no list of objects with role and content, both text (it has: ${found})`,
    );
  }
  if (!value.some(({ role }) => role === 'assistant'))
    throw invalid(place, 'no message is of the assistant, so nothing can be learnt');
  return value;
}

function invalid(place: RowPlace, what: string, cause?: unknown): OnebyteError {
  return new OnebyteError(
    'CHAT_INVALID',
    `the chat in row ${place.row + 1} of source '${place.source}': ${what}`,
    {
      field: 'task.messages',
      remedy:
        'write each chat as a list of {"role": ..., "content": ...} in an order that the template takes',
      ...(cause === undefined ? {} : { cause }),
    },
  );
}
