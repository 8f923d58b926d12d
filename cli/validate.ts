import { readFile } from 'node:fs/promises';
import type { PlacedMistake } from '../crds/validate.ts';
import { parseJobFile } from '../crds/validate.ts';

export interface Verdict {
  /** 0: a job that the API server would take. 2: not. */
  readonly code: 0 | 2;
  /** One line per mistake, or one that says that all is well. */
  readonly lines: readonly string[];
}

/** Checks a job file by the schema and the rules of the API server. */
export async function validateFile(path: string, overrides: readonly string[] = []): Promise<Verdict> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    return { code: 2, lines: [`${path}: cannot be read: ${error instanceof Error ? error.message : error}`] };
  }
  const { job, mistakes } = parseJobFile(text, overrides);
  if (!job) return { code: 2, lines: mistakes.map((mistake) => mistakeLine(path, mistake)) };
  return { code: 0, lines: [`${path}: ${job.metadata.name} is right`] };
}

/** `job.yaml:12:5: spec.seed: -1 is out of range (allowed: a whole number from 0 to 4294967295)` */
export function mistakeLine(path: string, mistake: PlacedMistake): string {
  const place = mistake.line === undefined ? path : `${path}:${mistake.line}:${mistake.column}`;
  const field = mistake.path === '' ? '' : `${mistake.path}: `;
  const allowed = mistake.allowed === undefined ? '' : ` (allowed: ${mistake.allowed})`;
  return `${place}: ${field}${mistake.message}${allowed}`;
}
