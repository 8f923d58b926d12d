import { OnebyteError } from '../../errors.ts';
import type { GgufHeader, GgufValue } from './header.ts';

/** `tokenizer.json` and `tokenizer_config.json` as Hugging Face would have published them. */
export interface GgufTokenizer {
  readonly json: Record<string, unknown>;
  readonly config: Record<string, unknown>;
}

const CONTROL = 3;
const USER_DEFINED = 4;

type Fields = Readonly<Record<string, unknown>>;

const BYTES = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true };
const PLAIN: Fields[] = [{ ...BYTES, use_regex: true }];
/** What `Digits` does, written so that no reader takes it for ASCII digits alone. */
const DIGITS: Fields[] = [
  { type: 'Split', pattern: { Regex: '\\p{N}' }, behavior: 'Isolated', invert: false },
  ...PLAIN,
];

function split(pattern: string): Fields[] {
  const cut = { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false };
  return [cut, { ...BYTES, use_regex: false }];
}

const LLAMA3 = (digits: string): Fields[] =>
  split(
    `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
  );

interface Kind {
  /** How text is cut before the merges. */
  readonly cut: readonly Fields[];
  readonly normalizer?: object;
  /** A piece that is in the vocabulary whole is one token, whatever the merges say. */
  readonly whole?: boolean;
  /** A text begins with the token for that, unless the file says otherwise. */
  readonly opens?: boolean;
}

/** By `tokenizer.ggml.pre` (llama.cpp, `llm_tokenizer_bpe`), as the models' own tokenizer.json have it. */
const KINDS: Readonly<Record<string, Kind>> = {
  'gpt-2': { cut: PLAIN },
  smollm: { cut: DIGITS },
  starcoder: { cut: DIGITS },
  refact: { cut: DIGITS },
  'llama-bpe': { cut: LLAMA3('{1,3}'), whole: true, opens: true },
  llama3: { cut: LLAMA3('{1,3}'), whole: true, opens: true },
  qwen2: { cut: LLAMA3(''), normalizer: { type: 'NFC' } },
};

/** What of a step of a pre-tokenizer changes where text is cut. */
function stepOf(step: Fields): string {
  const { type, use_regex: regex = true, add_prefix_space: space = true, individual_digits: each } = step;
  if (type === 'ByteLevel') return JSON.stringify([type, regex, space]);
  if (type === 'Digits' && each === true) return stepOf(DIGITS[0]!);
  const { pattern, behavior, invert = false } = step;
  return type === 'Split' ? JSON.stringify([type, pattern, behavior, invert]) : JSON.stringify(step);
}

function stepsOf(pre: Fields | null | undefined): string[] {
  if (pre?.type !== 'Sequence') return pre ? [stepOf(pre)] : [];
  return (pre.pretokenizers as Fields[]).flatMap(stepsOf);
}

/** The other way round: `tokenizer.ggml.pre` of a tokenizer.json; undefined where llama.cpp would cut text otherwise. */
export function preOf({ pre_tokenizer: pre, normalizer, model }: Fields): string | undefined {
  const steps = stepsOf(pre as Fields | null).join();
  const whole = (model as Fields | undefined)?.ignore_merges === true;
  // It composes no characters, which text has done already nearly always.
  if (normalizer != null && (normalizer as Fields).type !== 'NFC') return undefined;
  const fits = (kind: Kind) => kind.cut.map(stepOf).join() === steps && (kind.whole === true) === whole;
  return Object.entries(KINDS).find(([, kind]) => fits(kind))?.[0];
}

function refuse(file: string, key: string, message: string): never {
  const field = `${file}[tokenizer.${key}]`;
  throw new OnebyteError('MODEL_CONFIG_INVALID', `${field} ${message}`, {
    field,
    remedy: 'use the model as a Hugging Face folder, with its tokenizer.json',
  });
}

/** A token as tokenizer_config.json names it. */
function tokenOf(tokens: readonly GgufValue[], id: GgufValue | undefined): string | undefined {
  const token = typeof id === 'number' ? tokens[id] : undefined;
  return typeof token === 'string' ? token : undefined;
}

/**
 * The tokenizer of a GGUF file: byte-level BPE, from its tokens, merges and kind.
 * @throws {OnebyteError} MODEL_CONFIG_INVALID for another kind, or lists that do not belong together
 */
export function tokenizerOf({ metadata }: GgufHeader, file = 'model.gguf'): GgufTokenizer {
  const get = (key: string) => metadata.get(`tokenizer.${key}`);
  const list = (key: string): readonly GgufValue[] => {
    const found = get(key);
    return Array.isArray(found) ? found : refuse(file, key, 'is missing, or no list');
  };
  const model = get('ggml.model');
  if (model !== 'gpt2') refuse(file, 'ggml.model', `is ${JSON.stringify(model) ?? 'missing'}; known: gpt2`);
  const pre = get('ggml.pre');
  if (typeof pre !== 'string' || !Object.hasOwn(KINDS, pre))
    refuse(
      file,
      'ggml.pre',
      `is ${JSON.stringify(pre) ?? 'missing'}; known: ${Object.keys(KINDS).join(', ')}`,
    );
  const kind = KINDS[pre]!;

  const tokens = list('ggml.tokens');
  const types = get('ggml.token_type');
  if (!(types instanceof Int32Array) || types.length !== tokens.length)
    refuse(file, 'ggml.token_type', `is no list of ${tokens.length} numbers, one for each token`);
  const vocab: Record<string, number> = Object.create(null);
  const added: object[] = [];
  tokens.forEach((content, id) => {
    if (typeof content !== 'string') refuse(file, 'ggml.tokens', `has no text at ${id}`);
    vocab[content] = id;
    const type = types[id]!;
    if (type !== CONTROL && type !== USER_DEFINED) return;
    const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false };
    added.push({ id, content, ...plain, special: type === CONTROL });
  });
  const merges = list('ggml.merges').map((merge) => {
    const at = typeof merge === 'string' ? merge.indexOf(' ', 1) : -1;
    if (at < 0) refuse(file, 'ggml.merges', `has ${JSON.stringify(merge)}, which is no pair`);
    return [(merge as string).slice(0, at), (merge as string).slice(at + 1)];
  });
  const id = (name: string) => get(`ggml.${name}_token_id`);
  const bos = tokenOf(tokens, id('bos'));
  const opens = get('ggml.add_bos_token') ?? kind.opens === true;
  const first = opens === true ? bos : undefined;
  const end = tokenOf(tokens, id('eos'));
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: kind.normalizer ?? null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: kind.cut },
    post_processor: first === undefined ? null : opening(first, id('bos') as number),
    decoder: { ...BYTES, add_prefix_space: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: kind.whole === true,
      vocab,
      merges,
    },
  };
  const names = { bos_token: bos, eos_token: end, pad_token: tokenOf(tokens, id('padding')) ?? end };
  const known = Object.entries(names).filter(([, token]) => token !== undefined);
  const template = get('chat_template');
  const config = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    ...Object.fromEntries(known),
    ...(typeof template === 'string' ? { chat_template: template } : {}),
  };
  return { json, config };
}

/** Puts one token before a text. */
function opening(token: string, id: number): object {
  const special = { SpecialToken: { id: token, type_id: 0 } };
  return {
    type: 'TemplateProcessing',
    single: [special, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [special, { Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
  };
}
