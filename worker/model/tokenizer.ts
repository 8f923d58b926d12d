import { Tokenizer } from '@huggingface/tokenizers';
import { OnebyteError } from '../errors.ts';

/** Text to token ids. */
export interface TextTokenizer {
  /**
   * Ids with the model's special tokens, at most `maxTokens` of them; `truncated` says whether some were cut (the
   * closing special token stays).
   */
  encode(text: string, maxTokens: number): { readonly ids: Int32Array; readonly truncated: boolean };
  /** Ids of a piece of text, without special tokens around it; those written in it are read as such. */
  pieces(text: string): Int32Array;
  /**
   * The same of a text that goes on after another one, which has ids of its own. SentencePiece puts a space before every
   * text, and there is none between the two.
   * @param before the text before; by default some other text
   */
  continued(text: string, before?: string): Int32Array;
  /** Special tokens that stand before every text. */
  readonly opening: Int32Array;
  readonly padId: number;
  /** The token that ends a text; undefined where the model has none. */
  readonly endId: number | undefined;
  /** The token that stands for a hidden one; undefined where the model has none. */
  readonly maskId: number | undefined;
  /** The texts of the tokens that begin and end a text, for chat templates; empty where there is none. */
  readonly openingText: string;
  readonly endText: string;
  /** How the model wants a chat written (Jinja); undefined where it says nothing of it. */
  readonly chatTemplate: string | undefined;
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
  let around: { opening: number[]; closing: number[] };
  try {
    tokenizer = new Tokenizer(whole, config);
    around = specialTokens(tokenizer);
  } catch (cause) {
    invalid('is of no known kind', cause);
  }
  let highest = -1;
  for (const id of tokenizer.get_vocab(true).values()) highest = Math.max(highest, id);
  if (highest < 0) invalid('has an empty vocabulary');
  const { opening, closing } = around;
  const idOf = (field: string, fallback = ''): number | undefined =>
    tokenizer.token_to_id(tokenOf(config, field) ?? fallback);
  const pieces = (text: string): number[] => tokenizer.encode(text, { add_special_tokens: false }).ids;
  const spaced = SPACE.test(tokenizer.encode(ANCHOR, { add_special_tokens: false }).tokens[0] ?? '');
  return {
    padId: idOf('pad_token', '[PAD]') ?? 0,
    endId: idOf('eos_token'),
    maskId: idOf('mask_token', '[MASK]'),
    openingText: tokenOf(config, 'bos_token') ?? '',
    endText: tokenOf(config, 'eos_token') ?? '',
    chatTemplate: chatTemplateOf(config),
    opening: Int32Array.from(opening),
    vocabulary: highest + 1,
    pieces: (text) => Int32Array.from(pieces(text)),
    continued(text, before = ANCHOR) {
      if (!spaced || before === '') return Int32Array.from(pieces(text));
      const found = after(pieces, before, text) ?? after(pieces, ANCHOR, text) ?? pieces(text);
      return Int32Array.from(found);
    },
    encode(text, maxTokens) {
      const { ids } = tokenizer.encode(text);
      if (ids.length <= maxTokens) return { ids: Int32Array.from(ids), truncated: false };
      const kept = [...ids.slice(0, maxTokens - closing.length), ...closing];
      return { ids: Int32Array.from(kept.slice(0, maxTokens)), truncated: true };
    },
  };
}

/** Texts that go on are read after it, for what stands before a text alone: no token joins it to what follows. */
const ANCHOR = '\n';
/** How vocabularies write a space at the beginning of a token. */
const SPACE = /^[\u2581\u0120]/;

/** What a text adds to the ids of the one before it; undefined where their border is within a token. */
function after(pieces: (text: string) => number[], before: string, text: string): number[] | undefined {
  const [known, whole] = [pieces(before), pieces(before + text)];
  return known.every((id, i) => whole[i] === id) ? whole.slice(known.length) : undefined;
}

/** What a tokenizer.json may leave out, and the library asks for. */
const ABSENT = {
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: null,
};

/** The special tokens that stand before and after a text, such as [CLS] and [SEP] of BERT. */
function specialTokens(tokenizer: Tokenizer): { opening: number[]; closing: number[] } {
  const plain: number[] = tokenizer.encode('a', { add_special_tokens: false }).ids;
  const ids: number[] = tokenizer.encode('a').ids;
  for (let start = 0; start + plain.length <= ids.length; start++) {
    if (plain.every((id, i) => ids[start + i] === id))
      return { opening: ids.slice(0, start), closing: ids.slice(start + plain.length) };
  }
  return { opening: [], closing: [] };
}

/** A special token of tokenizer_config.json: a text, or an object with the text as `content`. */
function tokenOf(config: object, field: string): string | undefined {
  const token = (config as Record<string, unknown>)[field];
  if (typeof token === 'string') return token;
  const content = (token as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : undefined;
}

/** A template, or several by name, of which `default` is for chats that use no tools. */
export function chatTemplateOf(config: object): string | undefined {
  const { chat_template: found } = config as { chat_template?: unknown };
  if (typeof found === 'string') return found;
  if (!Array.isArray(found)) return undefined;
  const named = found.find((entry: { name?: unknown } | null) => entry?.name === 'default');
  return typeof named?.template === 'string' ? named.template : undefined;
}

/**
 * What is left of a tokenizer once all text has been read: what it says of itself, and the pieces of some words. The
 * tokenizer itself, tens of megabytes of a large vocabulary, can then be given back.
 */
export function afterReading(tokenizer: TextTokenizer, words: readonly string[]): TextTokenizer {
  // Of a function apart: a closure in here that names the tokenizer would keep it alive with `pieces`.
  return rest(tokenizer, continuedOf(tokenizer, words));
}

const continuedOf = (tokenizer: TextTokenizer, words: readonly string[]) =>
  new Map(words.map((word) => [word, tokenizer.continued(word)]));

function rest(
  facts: Omit<TextTokenizer, 'encode' | 'pieces' | 'continued'>,
  known: ReadonlyMap<string, Int32Array>,
): TextTokenizer {
  const gone = (): never => {
    throw new OnebyteError('INTERNAL', 'the tokenizer has been given back');
  };
  return { ...facts, encode: gone, pieces: gone, continued: (text) => known.get(text) ?? gone() };
}
