import { Tokenizer } from '@huggingface/tokenizers';
import { OnebyteError } from '../errors.ts';

/** Text to token ids. */
export interface TextTokenizer {
  /**
   * Ids with the model's special tokens, at most `maxTokens` of them; `truncated` says whether some were cut (the
   * closing special token stays).
   */
  encode(text: string, maxTokens: number): { readonly ids: Int32Array; readonly truncated: boolean };
  readonly padId: number;
  /** One more than the highest id that the tokenizer gives. */
  readonly vocabulary: number;
}

function invalid(message: string, cause?: unknown): never {
  throw new OnebyteError('MODEL_CONFIG_INVALID', `tokenizer.json: ${message}`, {
    field: 'tokenizer.json',
    remedy: 'use the tokenizer.json that was published with the model',
    ...(cause === undefined ? {} : { cause }),
  });
}

/**
 * Opens a `tokenizer.json`. Truncation is ours (`maxTokens`), padding is the batch's: what the file says of both is
 * left out.
 * @param json the parsed tokenizer.json
 * @param config the parsed tokenizer_config.json, or an empty object
 * @throws {OnebyteError} MODEL_CONFIG_INVALID
 */
export function openTokenizer(json: object, config: object): TextTokenizer {
  const whole = { ...ABSENT, ...json, truncation: null, padding: null };
  let tokenizer: Tokenizer;
  let closing: number[];
  try {
    tokenizer = new Tokenizer(whole, config);
    closing = closingTokens(tokenizer);
  } catch (cause) {
    invalid('is of no known kind', cause);
  }
  let highest = -1;
  for (const id of tokenizer.get_vocab(true).values()) highest = Math.max(highest, id);
  if (highest < 0) invalid('has an empty vocabulary');
  return {
    padId: tokenizer.token_to_id(padToken(config)) ?? 0,
    vocabulary: highest + 1,
    encode(text, maxTokens) {
      const { ids } = tokenizer.encode(text);
      if (ids.length <= maxTokens) return { ids: Int32Array.from(ids), truncated: false };
      const kept = [...ids.slice(0, maxTokens - closing.length), ...closing];
      return { ids: Int32Array.from(kept.slice(0, maxTokens)), truncated: true };
    },
  };
}

/** What a tokenizer.json may leave out, and the library asks for. */
const ABSENT = {
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: null,
};

/** The special tokens that stand after a text, such as [SEP] of BERT: kept when the text is cut. */
function closingTokens(tokenizer: Tokenizer): number[] {
  const plain: number[] = tokenizer.encode('a', { add_special_tokens: false }).ids;
  const ids: number[] = tokenizer.encode('a').ids;
  for (let start = 0; start + plain.length <= ids.length; start++) {
    if (plain.every((id, i) => ids[start + i] === id)) return ids.slice(start + plain.length);
  }
  return [];
}

function padToken(config: object): string {
  const token = (config as { pad_token?: unknown }).pad_token;
  if (typeof token === 'string') return token;
  const content = (token as { content?: unknown } | undefined)?.content;
  return typeof content === 'string' ? content : '[PAD]';
}
