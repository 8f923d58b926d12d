/** The sentiment example as a job of a cluster: one pool of data, as many workers as `replicas` says. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { Spec } from '../../crds/job.ts';
import { TEAM } from './lab.ts';

const example = join(import.meta.dirname, '..', '..', 'examples', 'sentiment');
const manifest = parse(readFileSync(join(example, 'kubernetes.yaml'), 'utf8')) as {
  metadata: object;
  spec: Spec;
};
export const MODEL = manifest.spec.model;
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
        ['train', 'validation', 'test'].map((split) => `${source}-${split}.jsonl`),
      ),
    ),
    map('sentiment-calibration', ['calibration.jsonl']),
  ];
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
