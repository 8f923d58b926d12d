import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { nearest } from '../../crds/check.ts';
import { wantedWorkers } from '../../crds/job.ts';
import { jobText, sourcesFor, toJobSpec } from '../../crds/job-spec.ts';
import { checkJob, parseJobFile } from '../../crds/validate.ts';
import { parseJob } from '../../worker/journal/job-text.ts';

const read = (name: string): string =>
  readFileSync(new URL(`manifests/right/${name}.yaml`, import.meta.url), 'utf8');
const smallest = read('smallest');

test('the smallest job gets every default that the API documents', () => {
  const { spec } = parseJobFile(smallest).job!;
  assert.deepEqual(spec.method.estimator, {
    radius: 0.001,
    probes: { min: 1, max: 16 },
    batch: 16,
    sides: 1,
  });
  assert.deepEqual(spec.method.rule, {
    type: 'normalized',
    learningRate: 1,
    scaling: 'sqrt',
    momentum: 0,
    schedule: 'constant',
    warmupRounds: 0,
    weighting: 'probes',
  });
  assert.deepEqual(spec.method.plan[0]!.scope, {
    type: 'head',
    layers: 'all',
    matrices: ['query', 'key', 'value', 'output', 'gate', 'up', 'down'],
    rank: 8,
    alpha: 16,
    head: true,
    epochs: 1,
    basis: { type: 'activation', rows: 256 },
  });
  const { codec, seedPool, seedDraw } = spec.method;
  assert.deepEqual({ codec, seedPool, seedDraw }, { codec: 'log8', seedPool: 0, seedDraw: 'uniform' });
  assert.deepEqual(spec.stop, { rounds: 0, forwards: 0 });
  assert.deepEqual(spec.evaluation, { everyRounds: 50, examples: 512 });
  assert.deepEqual(spec.checkpoint, { everyRounds: 100 });
  const { replicas, min, max, suspend, progressDeadlineSeconds } = spec;
  assert.deepEqual([replicas, min, max, suspend, progressDeadlineSeconds], [1, 1, 64, false, 600]);
  assert.equal(spec.task.maxTokens, 128);
  assert.equal(spec.task.pooling, 'mean');
});

test('a stage that changes one number of the estimator leaves the others to the job', () => {
  const { job } = parseJobFile(smallest.replace('scope: {', 'estimator: {batch: 64}\n        scope: {'));
  assert.deepEqual(job!.spec.method.plan[0]!.estimator, { batch: 64 });
});

test('text that is not YAML is refused with line and column', () => {
  const { mistakes } = parseJobFile('apiVersion: onebyte.dev/v1alpha1\nspec: [1, 2\n');
  assert.match(mistakes[0]!.message, /^not YAML: /);
  assert.ok(mistakes[0]!.line! >= 2);
});

test('an empty file, a list, two jobs in one file and a field named twice are refused', () => {
  assert.match(parseJobFile('# nothing\n').mistakes[0]!.message, /holds no job/);
  assert.match(parseJobFile('- a\n').mistakes[0]!.message, /not a job/);
  assert.match(parseJobFile(`${smallest}---\n${smallest}`).mistakes[0]!.message, /more than one document/);
  assert.match(parseJobFile(`${smallest}spec: {}\n`).mistakes[0]!.message, /unique/);
});

test('another kind, another version and a missing name are refused', () => {
  const paths = (text: string): string[] => parseJobFile(text).mistakes.map((mistake) => mistake.path);
  assert.deepEqual(paths(smallest.replace('kind: FineTuneJob', 'kind: Job')), ['kind']);
  assert.deepEqual(paths(smallest.replace('v1alpha1', 'v1')), ['apiVersion']);
  assert.deepEqual(paths(smallest.replace('name: sentiment', 'nam: sentiment')), [
    'metadata.nam',
    'metadata.name',
  ]);
});

test('a bare yes, a leading zero and underscores are refused, because YAML readers differ on what they mean', () => {
  for (const number of ['010', '1_000']) {
    const [mistake] = parseJobFile(smallest.replace('rounds: 300', `rounds: ${number}`)).mistakes;
    assert.equal(mistake!.path, 'spec.method.plan[0].rounds');
  }
  const { mistakes } = parseJobFile(smallest.replace('[negative, positive]', '[yes, no]'));
  assert.deepEqual(
    mistakes.map(({ path, line }) => [path, line]),
    [
      ['spec.task.labels[0]', 13],
      ['spec.task.labels[1]', 13],
    ],
  );
  assert.equal(parseJobFile(smallest.replace('[negative, positive]', `['yes', "no"]`)).mistakes.length, 0);
});

test('--set changes what the file says before it is checked', () => {
  const { job } = parseJobFile(smallest, [
    'seed=7',
    'method.plan[0].rounds=12',
    'spec.method.plan[1]={scope: {type: full}, rounds: 3}',
    'metadata.name=other',
    'stop.rounds=15',
    'task.labels=[a, b]',
  ]);
  assert.equal(job!.spec.seed, 7);
  assert.deepEqual(
    job!.spec.method.plan.map((stage) => stage.rounds),
    [12, 3],
  );
  assert.equal(job!.metadata.name, 'other');
  assert.deepEqual(job!.spec.task.labels, ['a', 'b']);
});

test('a --set that cannot be done says so', () => {
  const message = (text: string): string => parseJobFile(smallest, [text]).mistakes[0]!.message;
  assert.match(message('seed'), /path=value/);
  assert.match(message('a[=1'), /not a path/);
  assert.match(message('method.plan[5].rounds=1'), /not an entry of a list of 1/);
  assert.match(message('task.type.x=1'), /nothing to set x in/);
  assert.match(message('seed=[1'), /not YAML/);
  assert.match(message('__proto__.x=1'), /not a field/);
  assert.match(message('sead=1'), /did you mean seed/);
});

test('the nearest name is offered for a slip of the hand, and none for another word', () => {
  assert.equal(nearest('replcias', ['replicas', 'min']), 'replicas');
  assert.equal(nearest('learningrate', ['learningRate']), 'learningRate');
  assert.equal(nearest('workers', ['replicas', 'min', 'max']), undefined);
});

test('what training reads has no workers, no data and no places in it', () => {
  const { job } = parseJobFile(read('everything'));
  const text = jobText(job!);
  assert.deepEqual(Object.keys(toJobSpec(job!)).sort(), [
    'checkpoint',
    'evaluation',
    'method',
    'model',
    'seed',
    'stop',
    'task',
  ]);
  assert.doesNotMatch(text, /hospital|nats|replicas|movies/);
  assert.deepEqual(parseJob(text), { name: 'sentiment', job: toJobSpec(job!) });
});

test('the order in which a file names its fields does not change the job text', () => {
  const turned = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(turned);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([key, field]) => [key, turned(field)]),
    );
  };
  const { job } = parseJobFile(read('everything'));
  const other = turned(job) as NonNullable<typeof job>;
  assert.equal(jobText(other), jobText(job!));
});

test('a group with data reads them, one without reads those of the job', () => {
  const everything = parseJobFile(read('everything')).job!.spec;
  assert.equal(sourcesFor(everything, 'hospital-a').train[0]!.name, 'notes');
  assert.equal(sourcesFor(everything, '').train[0]!.name, 'movies');
  assert.deepEqual(sourcesFor(everything, 'hospital-a').validation, []);
});

test('workers are counted over spec.replicas and groups, without spec.replicas where there is no spec.data', () => {
  assert.equal(wantedWorkers(parseJobFile(read('everything')).job!.spec), 5);
  assert.equal(wantedWorkers(parseJobFile(read('groups-only')).job!.spec), 3);
});

test('whatever stands in a field, checking ends with mistakes and never with a throw', () => {
  const job = parseJobFile(read('everything')).job!;
  const paths: (string | number)[][] = [];
  const walk = (value: unknown, path: (string | number)[]): void => {
    if (path.length > 0) paths.push(path);
    if (typeof value !== 'object' || value === null) return;
    for (const [key, field] of Object.entries(value))
      walk(field, [...path, Array.isArray(value) ? Number(key) : key]);
  };
  walk(job, []);
  fc.assert(
    fc.property(fc.constantFrom(...paths), fc.jsonValue(), (path, value) => {
      const broken: unknown = structuredClone(job);
      let here = broken as Record<string | number, unknown>;
      for (const part of path.slice(0, -1)) here = here[part] as Record<string | number, unknown>;
      here[path.at(-1)!] = value;
      for (const mistake of checkJob(broken)) assert.ok(mistake.message.length > 0);
      checkJob(broken, job);
    }),
    { numRuns: 2000 },
  );
});
