import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { backoffMs, microTime } from '../../../operator/kube/clock.ts';
import { keyOf, nameOf, pathOf, pods } from '../../../operator/kube/object.ts';
import { isOlder } from '../../../operator/kube/reflector.ts';
import { parseScope } from '../../../operator/kube/scope.ts';
import { BrokenWatch, eventsOf, linesOf } from '../../../operator/kube/watch.ts';

async function* chunksOf(bytes: Uint8Array, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let from = 0;
  for (const to of [...ends, bytes.length]) {
    yield bytes.subarray(from, to);
    from = to;
  }
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

describe('linesOf', () => {
  test('however a stream is cut into chunks, its lines are the same', async () => {
    const line = fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\n', ' ').toWellFormed());
    await fc.assert(
      fc.asyncProperty(fc.array(line), fc.array(fc.nat()), fc.boolean(), async (lines, cuts, isCutShort) => {
        const text = lines.map((l) => `${l}\n`).join('') + (isCutShort ? '{"half":' : '');
        // A byte order mark at the very start is the decoder's to drop.
        fc.pre(!text.startsWith('\ufeff'));
        const bytes = new TextEncoder().encode(text);
        assert.deepEqual(await all(linesOf(chunksOf(bytes, cuts))), lines);
      }),
    );
  });
});

describe('eventsOf', () => {
  test('what is not an event breaks the watch instead of being skipped', async () => {
    const bad = ['{"type":"ADDED","obj', '[]', 'null', '{"type":"NEW","object":{}}', '{"type":"ADDED"}', '7'];
    for (const line of bad) {
      const chunks = chunksOf(new TextEncoder().encode(`${line}\n`), []);
      await assert.rejects(all(eventsOf(chunks)), BrokenWatch);
    }
  });
});

describe('versions, times, names', () => {
  test('versions are compared as whole numbers of any length', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 1n << 70n }), fc.bigInt({ min: 0n, max: 1n << 70n }), (a, b) => {
        assert.equal(isOlder(`${a}`, `${b}`), a < b);
      }),
    );
    assert.equal(isOlder('opaque', '5'), false);
  });

  test('times have six decimals and lose nothing', () => {
    assert.equal(microTime(1_700_000_000_123.456), '2023-11-14T22:13:20.123456Z');
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4e12 }), (ms) => {
        assert.match(microTime(ms), /\.\d{6}Z$/);
        assert.equal(Date.parse(microTime(ms)), ms);
      }),
    );
  });

  test('a back-off stays between half and all of its doubling step', () => {
    fc.assert(
      fc.property(fc.nat(200), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, draw) => {
        const step = Math.min(1_000, 10 * 2 ** attempt);
        const ms = backoffMs(attempt, { firstMs: 10, longestMs: 1_000 }, () => draw);
        assert.ok(ms >= step / 2 && ms <= step);
      }),
    );
  });

  test('keys and paths', () => {
    assert.deepEqual(nameOf(keyOf({ metadata: { namespace: 'a', name: 'b' } })), {
      namespace: 'a',
      name: 'b',
    });
    assert.deepEqual(nameOf(keyOf({ metadata: { name: 'b' } })), { name: 'b' });
    assert.equal(pathOf(pods), '/api/v1/pods');
    assert.equal(pathOf(pods, 'a', 'b', 'status'), '/api/v1/namespaces/a/pods/b/status');
  });

  test('a scope is all namespaces, one or a list', () => {
    assert.equal(parseScope(' ').namespaces, undefined);
    assert.deepEqual(parseScope('b, a,b').namespaces, ['a', 'b']);
    assert.throws(() => parseScope('a,B_'), /"B_" cannot be a namespace's name/);
  });
});
