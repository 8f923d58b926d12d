/** Reads job files: YAML, then the schema and rules of the CRD, with the place of every mistake. */
import { type Document, isPair, isScalar, isSeq, LineCounter, parseAllDocuments, visit } from 'yaml';
import { check, type Mistake } from './check.ts';
import { API_VERSION, type FineTuneJob, KIND } from './job.ts';
import { override, pathParts } from './override.ts';
import { SCHEMA } from './schema.gen.ts';
import type { Schema } from './schema.ts';

export interface PlacedMistake extends Mistake {
  /** Line and column in the file, from 1; absent where no place can be named. */
  readonly line?: number;
  readonly column?: number;
}

export interface Parsed {
  /** The job with every default filled; absent when there are mistakes. */
  readonly job?: FineTuneJob;
  readonly mistakes: readonly PlacedMistake[];
}

const TEXT: Schema = { type: 'string', maxLength: 253 };
const TEXTS: Schema = { type: 'object', additionalProperties: { type: 'string', maxLength: 262144 } };
const ANYTHING: Schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
const LIST: Schema = { type: 'array', items: ANYTHING };
/** What every Kubernetes object has; the CRD's own schema leaves it to the server. */
const METADATA: Schema = {
  type: 'object',
  required: ['name'],
  properties: {
    name: SCHEMA.properties!.metadata!.properties!.name!,
    generateName: TEXT,
    namespace: TEXT,
    labels: TEXTS,
    annotations: TEXTS,
    finalizers: { type: 'array', items: TEXT },
    ownerReferences: LIST,
    managedFields: LIST,
    uid: TEXT,
    resourceVersion: TEXT,
    selfLink: TEXT,
    generation: { type: 'integer' },
    creationTimestamp: TEXT,
    deletionTimestamp: TEXT,
    deletionGracePeriodSeconds: { type: 'integer' },
  },
};
const JOB: Schema = {
  ...SCHEMA,
  required: ['apiVersion', 'kind', 'metadata', ...(SCHEMA.required ?? [])],
  properties: {
    ...SCHEMA.properties,
    apiVersion: { type: 'string', enum: [API_VERSION] },
    kind: { type: 'string', enum: [KIND] },
    metadata: METADATA,
  },
};

/**
 * Reads one job from the text of a file.
 * @param overrides `path=value` each, put over what the file says before anything is checked
 */
export function parseJobFile(text: string, overrides: readonly string[] = []): Parsed {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, merge: true, prettyErrors: false });
  const filled = documents.filter((document) => document.contents !== null);
  const document = filled[0];
  if (!document) return { mistakes: [{ path: '', message: 'the file holds no job' }] };
  if (document.errors.length > 0) {
    const mistakes = document.errors.map((error) => ({
      path: '',
      message: `not YAML: ${error.message}`,
      ...at(lines, error.pos[0]),
    }));
    return { mistakes };
  }
  if (filled.length > 1) {
    const second = filled[1]?.range[0] ?? 0;
    return {
      mistakes: [{ path: '', message: 'the file holds more than one document', ...at(lines, second) }],
    };
  }
  const mistakes: PlacedMistake[] = [...ambiguous(document, lines)];
  const value: unknown = document.toJS();
  for (const text of overrides) {
    const message = override(value, text);
    if (message) mistakes.push({ path: '--set', message });
  }
  mistakes.push(
    ...checkJob(value).map((mistake) => ({ ...mistake, ...place(document, lines, mistake.path) })),
  );
  return mistakes.length === 0 ? { job: value as FineTuneJob, mistakes } : { mistakes };
}

/** Checks a job that has been read already; fills its defaults in. */
export function checkJob(value: unknown, old?: unknown): Mistake[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [{ path: '', message: 'not a job: a mapping with apiVersion, kind, metadata and spec is needed' }];
  }
  return check(JOB, value, old);
}

/**
 * Plain scalars that YAML 1.1 (the API server's reader) and YAML 1.2 (ours) take differently: yes and no, a number
 * with a leading zero (octal there) or with underscores.
 */
const AMBIGUOUS = /^(y|n|yes|no|on|off|[-+]?0[0-9]+|[-+]?[0-9][0-9]*_[0-9_.]*)$/i;

function ambiguous(document: Document.Parsed, lines: LineCounter): PlacedMistake[] {
  const found: PlacedMistake[] = [];
  visit(document, {
    Scalar(key, node, parents) {
      if (key === 'key' || node.type !== 'PLAIN' || !AMBIGUOUS.test(String(node.source))) return;
      found.push({
        path: pathTo([...parents, node]),
        message: `${node.source} means one thing to some YAML readers and another to others`,
        allowed: `'${node.source}' in quotes for a text, or a plain number, true or false`,
        ...at(lines, node.range?.[0] ?? 0),
      });
    },
  });
  return found;
}

/** The path of the last of a chain of nodes, each of which holds the next. */
function pathTo(chain: readonly unknown[]): string {
  let path = '';
  for (const [i, node] of chain.entries()) {
    if (isSeq(node)) path += `[${node.items.indexOf(chain[i + 1])}]`;
    if (isPair(node)) path += `${path === '' ? '' : '.'}${isScalar(node.key) ? node.key.value : node.key}`;
  }
  return path;
}

/** Where a path stands in the file, or else the nearest field around it that does. */
function place(
  document: Document.Parsed,
  lines: LineCounter,
  path: string,
): { line?: number; column?: number } {
  const parts = pathParts(path);
  for (let length = parts.length; length > 0; length--) {
    const keys = parts.slice(0, length);
    const parent: unknown = document.getIn(keys.slice(0, -1), true);
    const last = keys.at(-1);
    const node = nodeOf(parent, last) ?? document.getIn(keys, true);
    const range = (node as { range?: readonly number[] } | undefined)?.range;
    if (range) return at(lines, range[0]!);
  }
  return {};
}

/** The key of a field in a mapping, so that a mistake is shown where the field begins. */
function nodeOf(parent: unknown, key: string | number | undefined): unknown {
  const items = (parent as { items?: readonly { key?: unknown }[] } | undefined)?.items;
  return items?.find((pair) => isScalar(pair.key) && pair.key.value === key)?.key;
}

function at(lines: LineCounter, offset: number): { line: number; column: number } {
  const { line, col } = lines.linePos(offset);
  return { line, column: col };
}
