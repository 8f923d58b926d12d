/** What the API server does with a manifest, done here: defaults, schema, lists with keys, rules. Pure. */
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { RULES } from './rules.ts';
import type { Schema } from './schema.ts';

export interface Mistake {
  /** As the API server writes it: `spec.method.plan[0].rounds`. */
  readonly path: string;
  /** What is wrong. */
  readonly message: string;
  /** What would be right, where that can be said in a few words. */
  readonly allowed?: string;
}

type Fields = Record<string, unknown>;
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Characters that a pattern of the schema allows, in words. */
const PATTERNS: Readonly<Record<string, string>> = {
  '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$': 'lower-case letters, digits and hyphens, a letter or digit at both ends',
  '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$':
    'lower-case letters, digits, hyphens and dots, a letter or digit at both ends',
};

const OPTIONS = {
  allErrors: true,
  useDefaults: true,
  verbose: true,
  logger: false,
  strict: false,
  // Most processes check one job once: making the check faster, or checking our own schema first, takes longer than the check.
  code: { optimize: false },
  meta: false,
  validateSchema: false,
} as const;
const compiled = new WeakMap<Schema, ValidateFunction>();

/**
 * Checks a value against a structural schema. Fills defaults into `value` and takes nulls out of it, as the API
 * server does before it stores an object.
 * @param old the object before an update; rules about changes are checked against it
 */
export function check(schema: Schema, value: unknown, old?: unknown): Mistake[] {
  const mistakes: Mistake[] = [];
  prune(schema, value, '', mistakes);
  let validate = compiled.get(schema);
  if (!validate) {
    const ajv = new Ajv(OPTIONS);
    for (const format of ['int32', 'int64', 'double', 'date-time']) ajv.addFormat(format, true);
    validate = ajv.compile(schema);
    compiled.set(schema, validate);
  }
  if (!validate(value)) mistakes.push(...(validate.errors ?? []).map(fromAjv));
  const wrong = mistakes.map((mistake) => mistake.path);
  walk(schema, value, old, '', wrong, mistakes);
  return mistakes;
}

/** Takes out nulls (a field without a value) and names fields that the schema does not know. */
function prune(schema: Schema, value: unknown, path: string, mistakes: Mistake[]): void {
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) prune(schema.items ?? schema, item, `${path}[${i}]`, mistakes);
    return;
  }
  if (!isFields(value) || schema.type !== 'object') return;
  for (const [key, field] of Object.entries(value)) {
    const at = path === '' ? key : `${path}.${key}`;
    const child = own(schema.properties, key) ?? schema.additionalProperties;
    if (child && field === null) delete value[key];
    else if (child) prune(child, field, at, mistakes);
    else if (schema.properties && !schema['x-kubernetes-preserve-unknown-fields']) {
      const names = Object.keys(schema.properties);
      const near = nearest(key, names);
      mistakes.push({
        path: at,
        message: `unknown field${near ? `; did you mean ${near}?` : ''}`,
        allowed: names.join(', '),
      });
    }
  }
}

/** Duplicates in lists with keys, and rules; no rule is tried on a value that has a mistake in it already. */
function walk(
  schema: Schema,
  value: unknown,
  old: unknown,
  path: string,
  wrong: readonly string[],
  mistakes: Mistake[],
): void {
  if (value === undefined) return;
  const sound = !wrong.some(
    (at) => at === path || path === '' || at.startsWith(`${path}.`) || at.startsWith(`${path}[`),
  );
  for (const { id, rule, message, fieldPath } of schema['x-kubernetes-validations'] ?? []) {
    if (!sound || (old === undefined && rule.includes('oldSelf'))) continue;
    const twin = RULES[id];
    if (!twin) throw new Error(`rule ${id} has no twin in crds/rules.ts`);
    if (!twin(value, old)) mistakes.push({ path: join(path, fieldPath ?? ''), message });
  }
  if (Array.isArray(value) && schema.items) {
    const keyOf = listKey(schema);
    const before = new Map(Array.isArray(old) && keyOf ? old.map((item) => [keyOf(item), item]) : []);
    const seen = new Set<string>();
    for (const [i, item] of value.entries()) {
      const key = keyOf?.(item);
      if (key !== undefined && seen.has(key))
        mistakes.push({ path: `${path}[${i}]`, message: `duplicate value: ${key}` });
      if (key !== undefined) seen.add(key);
      const match =
        schema['x-kubernetes-list-type'] === 'map' && key !== undefined ? before.get(key) : undefined;
      walk(schema.items, item, match, `${path}[${i}]`, wrong, mistakes);
    }
  } else if (isFields(value)) {
    for (const [key, field] of Object.entries(value)) {
      const child = own(schema.properties, key);
      if (child)
        walk(child, field, isFields(old) ? old[key] : undefined, join(path, `.${key}`), wrong, mistakes);
    }
  }
}

function listKey(schema: Schema): ((item: unknown) => string) | undefined {
  switch (schema['x-kubernetes-list-type']) {
    case 'set':
      return (item) => JSON.stringify(item);
    case 'map':
      return (item) => {
        const keys = schema['x-kubernetes-list-map-keys'] ?? [];
        return JSON.stringify(
          isFields(item) ? Object.fromEntries(keys.map((key) => [key, item[key]])) : item,
        );
      };
    default:
      return undefined;
  }
}

function fromAjv(error: ErrorObject): Mistake {
  const path = pathOf(error.instancePath);
  const schema = error.parentSchema as unknown as Schema;
  const shown = show(error.data);
  switch (error.keyword) {
    case 'required': {
      const name = String(error.params.missingProperty);
      const field = own(schema.properties, name);
      return { path: join(path, `.${name}`), message: 'is missing', ...about(field) };
    }
    case 'type':
      return { path, message: `${shown} is not ${article(schema.type)}`, ...about(schema) };
    case 'enum':
      return { path, message: `${shown} is not one of the values there are`, ...about(schema) };
    case 'minimum':
    case 'maximum':
      return { path, message: `${shown} is out of range`, ...about(schema) };
    case 'minLength':
    case 'maxLength': {
      const what = shown === '""' ? 'is empty' : `${[...String(error.data)].length} characters are too many`;
      return { path, message: what, ...about(schema) };
    }
    case 'pattern':
      return { path, message: `${shown} has characters that are not allowed here`, ...about(schema) };
    case 'minItems':
    case 'maxItems': {
      const count = (error.data as unknown[]).length;
      return { path, message: `has ${count} entries`, ...about(schema) };
    }
    default:
      return { path, message: error.message ?? error.keyword, ...about(schema) };
  }
}

/** What a schema allows, in words. */
function about(schema: Schema | undefined): { allowed?: string } {
  if (!schema) return {};
  const { minimum, maximum, minItems = 0, maxItems, maxLength, pattern } = schema;
  let allowed: string = article(schema.type);
  if (schema.enum) allowed = schema.enum.join(', ');
  else if (minimum !== undefined && maximum !== undefined) {
    allowed = `${schema.type === 'integer' ? 'a whole number' : 'a number'} from ${minimum} to ${maximum}`;
  } else if (schema.type === 'array' && maxItems !== undefined)
    allowed = `${minItems} to ${maxItems} entries`;
  else if (schema.type === 'string' && maxLength !== undefined) {
    allowed = `1 to ${maxLength} ${pattern ? (PATTERNS[pattern] ?? `characters like ${pattern}`) : 'characters'}`;
  }
  return { allowed };
}

function article(type: Schema['type']): string {
  const words = {
    object: 'a mapping of fields',
    array: 'a list',
    string: 'a text',
    integer: 'a whole number',
    number: 'a number',
    boolean: 'true or false',
  };
  return words[type];
}

function show(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (isFields(value)) return 'a mapping of fields';
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 60 ? `${text.slice(0, 57)}..."` : text;
}

/** `/spec/plan/0/rounds` to `spec.plan[0].rounds`. */
function pathOf(pointer: string): string {
  const parts = pointer.split('/').slice(1);
  return parts.reduce((path, part) => {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
    return join(path, /^\d+$/.test(name) ? `[${name}]` : `.${name}`);
  }, '');
}

function join(path: string, more: string): string {
  return path === '' ? more.replace(/^\./, '') : path + more;
}

function own<T>(fields: Readonly<Record<string, T>> | undefined, key: string): T | undefined {
  return fields && Object.hasOwn(fields, key) ? fields[key] : undefined;
}

/** The name within two changes of a letter (one of a short name), if there is one. */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const limit = name.length < 5 ? 1 : 2;
  const ranked = names
    .map((candidate) => ({ candidate, distance: distance(name.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best && best.distance <= limit ? best.candidate : undefined;
}

/** Damerau-Levenshtein distance (optimal string alignment): insert, delete, replace, swap neighbours. */
function distance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, rows[i - 2]![j - 2]! + 1);
      }
      row.push(best);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
