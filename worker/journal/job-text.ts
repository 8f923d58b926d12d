import { OnebyteError } from '../errors.ts';
import { canonicalJson } from './canonical.ts';
import type { JobSpec } from './job.ts';

/** Most probes of one member in one round. */
export const MAX_PROBES = 4096;
/** Most rounds of a stage. */
const MAX_ROUNDS = 2 ** 31;

/**
 * Reads a genesis record's job text. The API's schema was checked before the text was written; here only what the
 * ledger itself computes with is checked again, because a record may come from anybody.
 * @throws OnebyteError RECORD_INVALID, naming the field.
 */
export function parseJob(text: string): { name: string; job: JobSpec } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new OnebyteError('RECORD_INVALID', "the genesis record's job is not JSON", { cause });
  }
  check(canonicalJson(value) === text, 'job', 'is not in canonical form');
  const { name, spec } = fields(value, 'job');
  check(typeof name === 'string', 'name', 'is not a string');
  checkSpec(fields(spec, 'spec'));
  return { name: name as string, job: spec as JobSpec };
}

function checkSpec(spec: Record<string, unknown>): void {
  const method = fields(spec.method, 'spec.method');
  const stop = fields(spec.stop, 'spec.stop');
  whole(stop.rounds, 'spec.stop.rounds', 0, MAX_ROUNDS);
  whole(stop.forwards, 'spec.stop.forwards', 0, Number.MAX_SAFE_INTEGER);
  if (stop.target !== undefined) {
    const target = fields(stop.target, 'spec.stop.target');
    check(['accuracy', 'loss'].includes(target.metric as string), 'spec.stop.target.metric', 'is unknown');
    check(typeof target.value === 'number', 'spec.stop.target.value', 'is not a number');
  }
  whole(fields(spec.evaluation, 'spec.evaluation').everyRounds, 'everyRounds', 0, MAX_ROUNDS);
  const common = fields(method.estimator, 'spec.method.estimator');
  checkEstimator(common, 'spec.method.estimator');
  fields(method.rule, 'spec.method.rule');
  const plan = method.plan;
  check(Array.isArray(plan) && plan.length > 0, 'spec.method.plan', 'is not a list of stages');
  for (const [i, item] of (plan as unknown[]).entries()) {
    const path = `spec.method.plan[${i}]`;
    const stage = fields(item, path);
    whole(stage.rounds, `${path}.rounds`, 0, MAX_ROUNDS);
    const changes = stage.estimator === undefined ? {} : fields(stage.estimator, `${path}.estimator`);
    const probes = changes.probes === undefined ? {} : fields(changes.probes, `${path}.estimator.probes`);
    const merged = { ...fields(common.probes, 'spec.method.estimator.probes'), ...probes };
    checkEstimator({ ...common, ...changes, probes: merged }, `${path}.estimator`);
  }
}

function checkEstimator(estimator: Record<string, unknown>, path: string): void {
  whole(fields(estimator.probes, `${path}.probes`).max, `${path}.probes.max`, 1, MAX_PROBES);
  whole(estimator.batch, `${path}.batch`, 1, MAX_ROUNDS);
  whole(estimator.sides, `${path}.sides`, 1, 2);
}

function fields(value: unknown, path: string): Record<string, unknown> {
  check(typeof value === 'object' && value !== null && !Array.isArray(value), path, 'is not an object');
  return value as Record<string, unknown>;
}

function whole(value: unknown, path: string, min: number, max: number): void {
  const holds = Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
  check(holds, path, `is not a whole number from ${min} to ${max}`);
}

function check(holds: boolean, field: string, what: string): void {
  if (!holds) throw new OnebyteError('RECORD_INVALID', `the genesis record's ${field} ${what}`, { field });
}
