import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { parse } from 'yaml';
import { generate } from '../../crds/generate.ts';
import { RULES } from '../../crds/rules.ts';
import { SCHEMA } from '../../crds/schema.gen.ts';
import { type Schema, schemaOf, validationsOf } from '../../crds/schema.ts';

const read = (name: string): Promise<string> =>
  readFile(new URL(`../../crds/${name}`, import.meta.url), 'utf8');
const crd = await read('finetunejob.yaml');

function everySchema(schema: Schema, path = ''): [string, Schema][] {
  const children = Object.entries(schema.properties ?? {}).map(([k, v]): [string, Schema] => [
    `${path}.${k}`,
    v,
  ]);
  if (schema.items) children.push([`${path}[]`, schema.items]);
  if (schema.additionalProperties) children.push([`${path}.*`, schema.additionalProperties]);
  return [[path, schema], ...children.flatMap(([p, s]) => everySchema(s, p))];
}

test('the generated files are what the CRD gives now: run npm run generate', async () => {
  for (const [name, text] of Object.entries(await generate(crd))) assert.equal(await read(name), text, name);
});

test('every CEL rule has a twin in rules.ts, and every twin has its rule', () => {
  const ids = validationsOf(schemaOf(crd)).map((v) => v.id);
  assert.deepEqual(ids.toSorted(), Object.keys(RULES).toSorted());
});

test('an id stands for one rule wherever it is used', () => {
  const seen = new Map<string, string>();
  for (const [path, schema] of everySchema(SCHEMA)) {
    for (const { id, rule, message } of schema['x-kubernetes-validations'] ?? []) {
      const text = JSON.stringify([rule, message]);
      assert.equal(seen.get(id) ?? text, text, `${id} at ${path}`);
      seen.set(id, text);
    }
  }
});

test('a rule that fixes a value fixes the order of its lists too, which == does not see in sets and maps', () => {
  for (const [path, schema] of everySchema(SCHEMA)) {
    const rule = schema['x-kubernetes-validations']?.find((v) => /^self == oldSelf\b/.test(v.rule))?.rule;
    if (!rule) continue;
    const below = everySchema(schema).filter(
      ([, { 'x-kubernetes-list-type': type }]) => type && type !== 'atomic',
    );
    for (const [list] of below) {
      const name = list.split('.').at(-1);
      assert.match(rule, new RegExp(`[.]${name}[.]map\\(.*\\b${name}[.]map\\(`), `${path}${list}`);
    }
  }
});

test('a rule without an id is refused', () => {
  assert.throws(() => schemaOf(crd.replace(/ *# rule job-name\n/, '')), /has no id/);
});

test('every string, list and number of the spec has bounds', () => {
  const spec = SCHEMA.properties!.spec!;
  for (const [path, schema] of everySchema(spec, 'spec')) {
    if (schema.enum) continue;
    if (schema.type === 'string') assert.ok(schema.maxLength !== undefined, path);
    if (schema.type === 'array') assert.ok(schema.maxItems !== undefined, path);
    if (schema.type === 'integer' || schema.type === 'number') {
      assert.ok(schema.minimum !== undefined && schema.maximum !== undefined, path);
    }
  }
});

test('every field of spec and status says in kubectl explain what it is', () => {
  for (const part of ['spec', 'status']) {
    for (const [path, { description }] of everySchema(SCHEMA.properties![part]!, part)) {
      if (path.endsWith('[]') || path.endsWith('*')) continue;
      assert.match(description ?? '', /\.$/, `${path}: ${description}`);
    }
  }
});

test('columns, scale and selectable fields name fields that there are', () => {
  const version = parse(crd).spec.versions[0];
  const known = new Set(everySchema(SCHEMA).map(([path]) => path));
  const paths: string[] = [
    ...Object.values(version.subresources.scale as Record<string, string>),
    ...version.selectableFields.map((field: { jsonPath: string }) => field.jsonPath),
    ...version.additionalPrinterColumns.map((column: { jsonPath: string }) => column.jsonPath),
  ];
  for (const path of paths) {
    if (path.startsWith('.metadata')) continue;
    assert.ok(known.has(path.replace(/\[\?[^\]]*\]/, '[]')), path);
  }
});
