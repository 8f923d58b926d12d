import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { shardOf, shardRows } from '../../worker/round/shard.ts';
import { joinOf } from '../journal/fixture.ts';

const member = (n: number, group: string) => ({ ...joinOf(n, group), slot: n, joined: 0, missed: 0 });

test('the members of a group share its rows out so that each is evaluated once', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 9 }),
      fc.nat(200),
      fc.nat(100),
      (groups, rows, examples) => {
        const members = groups.map((group, n) => member(n, group));
        const distinct = new Set(groups).size;
        for (const group of new Set(groups)) {
          const own = members.filter((one) => one.group === group);
          const covered = own.flatMap(({ id }) => [...shardRows(rows, shardOf(members, id, examples)!)]);
          const used = examples === 0 ? rows : Math.min(rows, Math.ceil(examples / distinct));
          assert.deepEqual(
            covered.sort((a, b) => a - b),
            Array.from({ length: used }, (_, i) => Math.floor((i * rows) / used)),
          );
        }
      },
    ),
  );
});

test('rows of a long split are taken from all of it: a file may be sorted by label, or a source follow another', () => {
  const rows = shardRows(25_000, { index: 0, of: 1, cap: 512 });
  assert.equal(new Set(rows).size, 512);
  assert.equal(rows.filter((row) => row < 12_500).length, 256);
});

test('somebody who is not in has no share', () => {
  assert.equal(shardOf([member(0, '')], joinOf(1).id, 0), null);
});
