/** The sentiment example as a job of a cluster: one pool of data, as many workers as `replicas` says. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { Spec } from '../../crds/job.ts';
import { TEAM } from './namespaces.ts';

const example = join(import.meta.dirname, '..', '..', 'examples', 'sentiment');
const manifest = parse(readFileSync(join(example, 'kubernetes.yaml'), 'utf8')) as {
  metadata: object;
  spec: Spec;
};
export const MODEL = manifest.spec.model;
export const TEMPLATE = manifest.spec.template;
const SOURCES = ['movies', 'products', 'news', 'tweets'];

/** One ConfigMap for each source, and one with the calibration text. */
export function dataObjects(namespace = TEAM): object[] {
  const file = (name: string) => [name, readFileSync(join(example, 'data', name), 'utf8')];
  const map = (name: string, files: string[]) => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace },
    data: Object.fromEntries(files.map(file)),
  });
  return [
    ...SOURCES.map((source) =>
      map(
        `sentiment-${source}`,
        ['train', 'validation', 'test', '64'].map((split) => `${source}-${split}.jsonl`),
      ),
    ),
    map('sentiment-calibration', ['calibration.jsonl']),
  ];
}

/** The few-shot example's rows: 64 from each party, so that a worker has its features in seconds. */
export const FEW_ROWS = {
  train: SOURCES.map((name) => ({ name, uri: `data/${name}-64.jsonl` })),
  validation: [{ name: 'movies', uri: 'data/movies-validation.jsonl' }],
};

/**
 * The example's two stages, made for tests that change something as the run goes on.
 * @param rounds of the second stage: many short ones
 * @param beginning rounds of the first stage, and rows that the basis is made of: by default as many as the example has
 */
export function stages(rounds: number, beginning: { head?: number; rows?: number } = {}): object {
  const { head = 100, rows } = beginning;
  const basis = { calibration: { uri: 'data/calibration.jsonl' }, ...(rows !== undefined && { rows }) };
  return {
    plan: [
      {
        scope: { type: 'head' },
        rounds: head,
        estimator: { radius: 0.01, batch: 64, probes: { min: 1, max: 16 } },
        rule: { learningRate: 0.5, schedule: 'linear' },
      },
      {
        scope: { type: 'subspace', layers: '5', rank: 4, basis },
        rounds,
        estimator: { batch: 4, probes: { min: 1, max: 2 } },
      },
    ],
  };
}

export interface Choices {
  readonly name?: string;
  readonly namespace?: string;
  /** Put over the example's spec, field by field. */
  readonly spec?: object;
}

/** The manifest, with some fields changed. */
export function sentimentJob({ name = 'sentiment', namespace = TEAM, spec = {} }: Choices = {}): object {
  return {
    apiVersion: 'onebyte.dev/v1alpha1',
    kind: 'FineTuneJob',
    metadata: { name, namespace },
    spec: { ...manifest.spec, ...spec },
  };
}
