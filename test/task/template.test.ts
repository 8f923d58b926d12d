import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OnebyteError } from '../../worker/errors.ts';
import { Labels } from '../../worker/task/labels.ts';
import { compileTemplate } from '../../worker/task/template.ts';

const place = { source: 'movies', row: 6 };
const code = (name: string) => (error: unknown) => error instanceof OnebyteError && error.code === name;

test('a template fills in fields and keeps doubled braces as braces', () => {
  const template = compileTemplate('task.text', '{title}: {{{text}}} {n} {ok}');
  assert.equal(template.render({ title: 'A', text: 'b', n: 1.5, ok: true }, place), 'A: {b} 1.5 true');
  assert.deepEqual(template.fields, ['title', 'text', 'n', 'ok']);
});

test('text with its braces doubled comes out as it was', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const doubled = text.replaceAll('{', '{{').replaceAll('}', '}}');
      assert.equal(compileTemplate('t', doubled).render({}, place), text);
    }),
  );
});

test('field values are never read as templates', () => {
  assert.equal(compileTemplate('t', '{a}').render({ a: '{b}}' }, place), '{b}}');
});

test('a missing field is an error that names template, field, source, row and what there is', () => {
  const template = compileTemplate('task.text', '{title}');
  assert.throws(
    () => template.render({ text: 'x', stars: 3 }, place),
    (error: OnebyteError) =>
      error.code === 'ROW_FIELD_MISSING' &&
      /task\.text: field 'title' is missing in row 7 of source 'movies' \(it has: text, stars\)/.test(
        error.message,
      ),
  );
  assert.throws(() => template.render({ title: null }, place), code('ROW_FIELD_MISSING'));
  assert.throws(() => template.render({ title: ['a'] }, place), /holds a list/);
  assert.throws(() => compileTemplate('t', '{toString}').render({}, place), code('ROW_FIELD_MISSING'));
});

test('a lone brace or an empty field is refused where the template is read', () => {
  for (const text of ['{', 'a}', '{}', '{ }', '{a', '{a{b}', '{a}}']) {
    assert.throws(() => compileTemplate('task.text', text), code('TEMPLATE_INVALID'), text);
  }
});

test('labels map to their place in the list, and an unknown one is an error with the allowed ones', () => {
  const labels = new Labels(['negative', 'positive']);
  assert.equal(labels.indexOf('positive', place), 1);
  assert.throws(
    () => labels.indexOf('neutral', place),
    (error: OnebyteError) =>
      error.code === 'LABEL_UNKNOWN' &&
      /"neutral" in row 7 of source 'movies' is not one of: negative, positive/.test(error.message),
  );
  assert.throws(() => new Labels(['one']), code('LABELS_INVALID'));
  assert.throws(() => new Labels(['a', 'a']), code('LABELS_INVALID'));
});
