import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import { Tokenizer } from 'tokenizers';
import { type GgufHeader, type GgufValue, parseGguf } from '../../../worker/model/gguf/header.ts';
import { tokenizerOf } from '../../../worker/model/gguf/tokenizer.ts';
import { openTokenizer } from '../../../worker/model/tokenizer.ts';
import { missingSmollm2, smollm2 } from '../smollm2.ts';

function header(changes: Record<string, GgufValue | undefined> = {}): GgufHeader {
  const tokens = ['<s>', 'a', 'b', 'c', 'ab', 'abc', '1', '2', '\u0120', '\u0120ab', '12'];
  const metadata: Record<string, GgufValue | undefined> = {
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': 'gpt-2',
    'tokenizer.ggml.tokens': tokens,
    'tokenizer.ggml.token_type': Int32Array.from(tokens, (_, i) => (i === 0 ? 3 : 1)),
    'tokenizer.ggml.merges': ['a b', 'ab c', '\u0120 ab', '1 2'],
    'tokenizer.ggml.bos_token_id': 0,
    'tokenizer.ggml.eos_token_id': 0,
    ...changes,
  };
  const present = Object.entries(metadata).filter(
    (entry): entry is [string, GgufValue] => entry[1] !== undefined,
  );
  return { version: 3, metadata: new Map(present), tensors: new Map(), bytes: 0 };
}

const ids = (text: string, changes: Record<string, GgufValue> = {}) => {
  const { json, config } = tokenizerOf(header(changes));
  return [...openTokenizer(json, config).encode(text, 99).ids];
};

test('tokens and merges of the metadata cut text as they say', () => {
  assert.deepEqual(ids('abc ab12'), [5, 9, 10]);
  assert.deepEqual(ids('ab<s>c'), [4, 0, 3]);
});

test('each kind cuts numbers its own way, and some begin with a token', () => {
  assert.deepEqual(ids('ab12', { 'tokenizer.ggml.pre': 'smollm' }), [4, 6, 7]);
  assert.deepEqual(ids('ab12', { 'tokenizer.ggml.pre': 'qwen2' }), [4, 6, 7]);
  assert.deepEqual(ids('ab', { 'tokenizer.ggml.add_bos_token': true }), [0, 4]);
  // As llama.cpp has it, Llama 3 begins with it where the file says nothing.
  const llama3 = { 'tokenizer.ggml.pre': 'llama-bpe' };
  assert.deepEqual(ids('ab12', llama3), [0, 4, 10]);
  assert.deepEqual(ids('ab12', { ...llama3, 'tokenizer.ggml.add_bos_token': false }), [4, 10]);
});

test('another kind of tokenizer, or lists that do not belong together, are refused by name', () => {
  const wrong: [Record<string, GgufValue | undefined>, RegExp][] = [
    [{ 'tokenizer.ggml.model': 'llama' }, /ggml.model\] is "llama"; known: gpt2/],
    [{ 'tokenizer.ggml.model': undefined }, /ggml.model\] is missing/],
    [{ 'tokenizer.ggml.pre': 'viking' }, /ggml.pre\] is "viking"; known: gpt-2, smollm/],
    [{ 'tokenizer.ggml.pre': '__proto__' }, /ggml.pre\]/],
    [{ 'tokenizer.ggml.tokens': 3 }, /ggml.tokens\] is missing, or no list/],
    [{ 'tokenizer.ggml.token_type': Int32Array.of(1) }, /is no list of 11 numbers/],
    [{ 'tokenizer.ggml.merges': ['ab'] }, /"ab", which is no pair/],
    [{ 'tokenizer.ggml.merges': undefined }, /ggml.merges\] is missing/],
  ];
  for (const [changes, message] of wrong)
    assert.throws(() => tokenizerOf(header(changes)), { code: 'MODEL_CONFIG_INVALID', message });
});

test("SmolLM2's tokenizer from its GGUF file gives the ids of the package `tokenizers` and of llama.cpp", {
  skip: await missingSmollm2(),
}, async () => {
  const { json, config } = tokenizerOf(parseGguf(await readFile(await smollm2())));
  const ours = openTokenizer(json, config);
  const theirs = await Tokenizer.fromString(JSON.stringify(json));
  // As llama.cpp b11549 answers POST /tokenize with parse_special.
  const text = "Hello world! It's 2024, na\u00efve caf\u00e9 \u{1f600}\n\n  x<|im_end|>";
  const known = [
    19556, 905, 17, 657, 506, 216, 34, 32, 34, 36, 28, 15486, 46494, 37366, 40303, 218, 8866, 1792, 2,
  ];
  assert.deepEqual([...ours.encode(text, 99).ids], known);
  assert.equal(ours.vocabulary, 49_152);
  assert.equal(ours.padId, 2);
  const piece = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 8 }),
    fc.constantFrom(
      ' ',
      '\n',
      "don't",
      ' 3.14',
      '<|im_start|>user\n',
      'The quick',
      '\u4f60\u597d',
      ' \ua9d0',
    ),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
      const line = pieces.join('');
      const expected = (await theirs.encode(line)).getIds();
      assert.deepEqual([...ours.encode(line, 9999).ids], expected);
    }),
    { numRuns: 500 },
  );
});
