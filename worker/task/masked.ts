import { hashWords } from '../direction/seed.ts';
import { OnebyteError } from '../errors.ts';
import type { MaskedTask } from '../journal/job.ts';
import type { TextTokenizer } from '../model/tokenizer.ts';
import type { ExampleReader, SourceRows } from './examples.ts';
import { compileTemplate } from './template.ts';

/** Share of a text's tokens that are hidden (Devlin et al. 2019). */
const SHARE = 0.15;

/**
 * Reads rows for a model that fills gaps: some tokens are hidden and predicted. Which ones depends on the text alone,
 * so that all probes and all rounds see the same gaps.
 */
export function maskedReader(
  task: MaskedTask,
  tokenizer: TextTokenizer,
  limit: number,
  source: SourceRows,
): ExampleReader {
  const { maskId, opening } = tokenizer;
  if (maskId === undefined) {
    throw new OnebyteError('TASK_UNSUPPORTED', 'the model has no token for a gap', {
      field: 'task.type',
      remedy: 'use an encoder that was trained to fill gaps',
    });
  }
  const own = source.text !== undefined;
  const template = compileTemplate(
    own ? `text of source ${source.name}` : 'task.text',
    source.text ?? task.text,
  );
  return (row, place) => {
    const text = template.render(row, place);
    const { ids, truncated } = tokenizer.encode(text, limit);
    const closing = tokenizer.encode('', limit).ids.length - opening.length;
    const places = Int32Array.from(
      { length: ids.length - opening.length - closing },
      (_, i) => i + opening.length,
    );
    if (places.length === 0) {
      throw new OnebyteError(
        'COMPLETION_EMPTY',
        `row ${place.row + 1} of source '${place.source}' has no text`,
        {
          field: 'task.text',
          remedy: 'leave the row out',
        },
      );
    }
    const at = chosen(text, places);
    const hidden = ids.slice();
    for (const i of at) hidden[i] = maskId;
    return { ids: hidden, predictions: { at, tokens: at.map((i) => ids[i]!) }, truncated };
  };
}

/** The places with the smallest hashes of text and place, ascending; at least one. */
function chosen(text: string, places: Int32Array): Int32Array {
  const count = Math.max(1, Math.floor(places.length * SHARE + 0.5));
  const bytes = new TextEncoder().encode(text);
  const ranked = [...places].map((place) => ({
    place,
    rank: hashWords('onebyte/mask/1', [place, bytes])[0]!,
  }));
  ranked.sort((a, b) => a.rank - b.rank || a.place - b.place);
  return Int32Array.from(ranked.slice(0, count), ({ place }) => place).sort();
}
