import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Tokenizer } from 'tokenizers';
import { openTokenizer } from '../../worker/model/tokenizer.ts';
import { memberTokenizer } from './tiny-llama.ts';

const SPACE = '\u2581';
const PIECES = ['g', 'o', 'x', 'H', ',', SPACE, 'go', `${SPACE}go`, `${SPACE}x`, `${SPACE}${SPACE}`];
const VOCABULARY = ['<unk>', '<s>', '</s>', '<0x0A>', ...PIECES];
const id = (token: string) => VOCABULARY.indexOf(token);

/** SentencePiece as Llama 2 and Mistral have it, in the older and in the newer way to write it. */
function sentencePiece(way: 'normalizer' | 'metaspace'): object {
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: SPACE };
  const prepend = { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: SPACE }, replace] };
  const metaspace = { type: 'Metaspace', replacement: SPACE, prepend_scheme: 'first', split: false };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: ['<unk>', '<s>', '</s>'].map((content, i) => {
      const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false };
      return { id: i, content, ...plain, special: true };
    }),
    normalizer: way === 'normalizer' ? prepend : null,
    pre_tokenizer: way === 'metaspace' ? metaspace : null,
    post_processor: null,
    decoder: null,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: '<unk>',
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries(VOCABULARY.map((token, i) => [token, i])),
      merges: [
        ['g', 'o'],
        [SPACE, 'go'],
        [SPACE, 'x'],
        [SPACE, SPACE],
      ],
    },
  };
}

for (const way of ['normalizer', 'metaspace'] as const) {
  const tokenizer = openTokenizer(sentencePiece(way), {});

  test(`SentencePiece (${way}): a text that goes on has no space before it that it has not itself`, () => {
    assert.deepEqual([...tokenizer.pieces('x go')], [id(`${SPACE}x`), id(`${SPACE}go`)]);
    assert.deepEqual([...tokenizer.continued(' go', 'x')], [id(`${SPACE}go`)]);
    assert.deepEqual([...tokenizer.continued('go', 'x,')], [id('go')]);
    assert.deepEqual([...tokenizer.continued('\nH', 'x')], [id('<0x0A>'), id('H')]);
    assert.deepEqual([...tokenizer.continued(' go')], [id(`${SPACE}go`)]);
    assert.deepEqual([...tokenizer.continued('go', '')], [...tokenizer.pieces('go')]);
    // Its border with the text before lies within a token.
    assert.deepEqual([...tokenizer.continued('o', 'xg')], [id('o')]);
  });

  test(`SentencePiece (${way}): both parts are the ids of the whole, by the package \`tokenizers\`, where a border allows it`, async () => {
    const theirs = await Tokenizer.fromString(JSON.stringify(sentencePiece(way)));
    const text = fc.string({
      unit: fc.constantFrom('g', 'o', 'x', 'H', ',', ' ', '\n', '</s>'),
      maxLength: 8,
    });
    await fc.assert(
      fc.asyncProperty(text, text, async (before, rest) => {
        const ids = async (part: string) =>
          (await theirs.encode(part, null, { addSpecialTokens: false })).getIds();
        const [head, whole] = [await ids(before), await ids(before + rest)];
        fc.pre(before !== '' && head.every((token, i) => whole[i] === token));
        assert.deepEqual([...tokenizer.continued(rest, before)], whole.slice(head.length));
      }),
    );
  });
}

test('where a text has nothing put before it, one that goes on is read as it is alone', () => {
  const tokenizer = openTokenizer(memberTokenizer(), {});
  for (const text of [' go', 'go', '\ngo', ''])
    assert.deepEqual(tokenizer.continued(text, 'x'), tokenizer.pieces(text));
});
