import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Feed, Forward, Outputs } from '../../worker/engine/evaluators/session.ts';
import { RowSource } from '../../worker/engine/evaluators/source.ts';
import { type Examples, NO_EXAMPLES } from '../../worker/task/examples.ts';

const WIDTH = 4;

/** Says of each row how many tokens it has, and counts rows. */
class Lengths implements Forward {
  readonly output = 'pooled';
  rows = 0;

  async run({ attention_mask: mask }: Readonly<Record<string, Feed>>): Promise<Outputs> {
    const [count, tokens] = mask!.dims as [number, number];
    this.rows += count;
    const pooled = new Float32Array(count * WIDTH);
    for (let i = 0; i < count * tokens; i++) pooled[Math.floor(i / tokens) * WIDTH]! += Number(mask!.data[i]);
    return { pooled };
  }

  async close(): Promise<void> {}
}

function rowsOfLengths(lengths: readonly number[]): Examples {
  return {
    ids: lengths.map((length) => new Int32Array(length).fill(1)),
    labels: new Int32Array(lengths.length),
    truncated: 0,
  };
}

test('a pass through the frozen part has no more tokens than its limit, but for one row that alone has more', async () => {
  const passes: number[] = [];
  class Passes extends Lengths {
    override run(feeds: Readonly<Record<string, Feed>>): Promise<Outputs> {
      const [count, tokens] = feeds.attention_mask!.dims as [number, number];
      passes.push(count * tokens);
      return super.run(feeds);
    }
  }
  const lengths = [500, ...Array.from({ length: 40 }, () => 60)];
  const examples = { train: rowsOfLengths(lengths), validation: NO_EXAMPLES, test: NO_EXAMPLES };
  const options = { examples, padId: 0, width: WIDTH, memoryBudgetBytes: 0, tokens: 256 };
  const source = new RowSource(options, 'pooled', new Passes());
  await source.feeds(
    'train',
    Int32Array.from(lengths, (_, i) => i),
  );
  assert.deepEqual(passes, [500, ...Array(10).fill(240)]);
});

for (const [ms, hurry] of [
  [60_000, 'at the start of a stage'],
  [5000, 'in time that is short'],
] as const) {
  test(`rows are warmed as long as they find room: ${hurry}`, async () => {
    const lengths = Array.from({ length: 300 }, (_, i) => 1 + ((i * 37) % 61));
    const frozen = new Lengths();
    const examples = { train: rowsOfLengths(lengths), validation: NO_EXAMPLES, test: NO_EXAMPLES };
    const room = 100;
    const options = { examples, padId: 0, width: WIDTH, memoryBudgetBytes: room * WIDTH * 4 };
    const source = new RowSource(options, 'pooled', frozen);
    const all = Int32Array.from(lengths, (_, i) => i);
    await source.warm('train', all, ms);
    const warmed = frozen.rows;
    assert.ok(warmed > room && warmed <= room + 16, `${warmed} rows`);

    const { pooled } = await source.feeds('train', all);
    const found = all.map((i) => (pooled!.data as Float32Array)[i * WIDTH]!);
    assert.deepEqual([...found], lengths);
    assert.equal(frozen.rows - warmed, lengths.length - room);
  });
}
