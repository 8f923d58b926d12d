import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  bytes,
  compact,
  count,
  duration,
  loss,
  metric,
  modelName,
  percent,
  rate,
} from '../../../cli/view/format.ts';
import { anyNumber } from '../arbitrary.ts';

test('numbers read the way people write them', () => {
  assert.equal(count(1234567), '1,234,567');
  assert.equal(bytes(982), '982 B');
  assert.equal(bytes(999.6), '1.00 kB');
  assert.equal(bytes(13_640), '13.6 kB');
  assert.equal(bytes(1.21e9), '1.21 GB');
  assert.equal(compact(393_984), '394 k');
  assert.equal(compact(22_713_216), '22.7 M');
  assert.equal(rate(0.424), '0.42');
  assert.equal(rate(14.23), '14.2');
  assert.equal(rate(7270.4), '7,270');
  assert.equal(loss(0.53124), '0.5312');
  assert.equal(metric(0.8361), '0.836');
  assert.equal(duration(7), '0:07');
  assert.equal(duration(3 * 3600 + 5 * 60), '3:05:00');
  assert.equal(duration(2 * 86400 + 4 * 3600), '2 d 4 h');
  assert.equal(percent(0.9999), '99 %');
  assert.equal(percent(1), '100 %');
  assert.equal(modelName('hf://sentence-transformers/all-MiniLM-L6-v2'), 'all-MiniLM-L6-v2');
});

test('any number at all gives a short text', () => {
  fc.assert(
    fc.property(anyNumber, (value) => {
      for (const show of [bytes, compact, rate, loss, metric, duration, percent]) {
        const text = show(Math.abs(value) < 1e15 ? value : Number.NaN);
        assert.ok(text.length > 0 && text.length <= 24, `${show.name}(${value}) = ${text}`);
      }
    }),
  );
});
