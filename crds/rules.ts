/** The TypeScript twin of every CEL rule in `finetunejob.yaml`, by the rule's id. A twin answers whether it holds. */
import { isDeepStrictEqual } from 'node:util';
import type { FineTuneJob, Group, Scope, Spec, Stage, Template } from './job.ts';
import { wantedWorkers } from './job.ts';

/** `self` is the value where the rule stands; `old` what stood there before an update (`oldSelf` in CEL). */
export type Twin = (self: unknown, old: unknown) => boolean;

function twin<T>(holds: (self: T, old: T) => boolean): Twin {
  return holds as Twin;
}
const matches = (pattern: RegExp): Twin => twin((self: string) => pattern.test(self));
const fixed: Twin = (self, old) => isDeepStrictEqual(self, old);
const ordered = twin((self: { min: number; max: number }) => self.min <= self.max);
const template = twin((text: string) => /[{][^{}]+[}]/.test(text.replaceAll('{{', '').replaceAll('}}', '')));
const finished = (job: FineTuneJob): boolean => job.status?.completionTime !== undefined;

export const RULES: Readonly<Record<string, Twin>> = {
  'job-name': twin((name: string) => name.length <= 40 && /^[a-z]([-a-z0-9]*[a-z0-9])?$/.test(name)),
  'finished-replicas': twin(
    (job: FineTuneJob, old) => !finished(old) || job.spec.replicas === old.spec.replicas,
  ),
  'finished-suspend': twin(
    (job: FineTuneJob, old) => !finished(old) || !job.spec.suspend || old.spec.suspend,
  ),

  'data-somewhere': twin(
    (spec: Spec) =>
      spec.data !== undefined || (spec.groups?.every((group) => group.data !== undefined) ?? false),
  ),
  'data-fixed': twin((spec: Spec, old) => (spec.data === undefined) === (old.data === undefined)),
  'managed-by-fixed': twin((spec: Spec, old) => spec.managedBy === old.managedBy),
  'head-there': twin(
    ({ task, method }: Spec) =>
      (task.type === 'classification' && task.words === undefined) ||
      method.plan.every(({ scope }) => scope.type !== 'head'),
  ),
  'min-max': ordered,
  'workers-below-max': twin((spec: Spec) => wantedWorkers(spec) <= spec.max),
  'workers-above-min': twin((spec: Spec) => (!spec.data && !spec.groups) || wantedWorkers(spec) >= spec.min),
  'stop-within-plan': twin(
    (spec: Spec) => spec.stop.rounds <= spec.method.plan.reduce((sum, stage) => sum + stage.rounds, 0),
  ),
  'target-evaluated': twin((spec: Spec) => !spec.stop.target || spec.evaluation.everyRounds > 0),
  'target-validation': twin(
    (spec: Spec) =>
      !spec.stop.target ||
      spec.data?.validation !== undefined ||
      (spec.groups?.some((group) => group.data?.validation !== undefined) ?? false),
  ),

  'seed-fixed': fixed,
  'model-fixed': fixed,
  'model-onnx': twin(
    ({ uri, output, weights }: Spec['model']) =>
      (output === undefined && weights === undefined) || /[.](onnx|ONNX)(@[^@]*)?$/.test(uri),
  ),
  'model-uri': matches(
    /^(hf:\/\/[A-Za-z0-9_.-]+\/[A-Za-z0-9_.-]+(\/[A-Za-z0-9_./-]+[.](gguf|onnx))?(@[A-Za-z0-9_./-]+)?|(https?|s3|file):\/\/[^ ]+|[^ :]+)$/,
  ),
  'model-sha256': matches(/^[0-9a-f]{64}$/),
  'task-fixed': fixed,
  'task-classification': twin(
    ({ type, text, label, labels }: Spec['task']) =>
      type !== 'classification' || (text !== undefined && label !== undefined && labels !== undefined),
  ),
  'task-classification-only': twin(
    ({ type, label, labels, words }: Spec['task']) =>
      type === 'classification' || (label === undefined && labels === undefined && words === undefined),
  ),
  'task-words': twin(
    ({ labels, words }: Spec['task']) => words === undefined || words.length === labels?.length,
  ),
  'task-causal': twin(
    ({ type, text, prompt, messages }: Spec['task']) =>
      type !== 'causal-lm' || [text, prompt, messages].filter((t) => t !== undefined).length === 1,
  ),
  'task-completion': twin(
    ({ prompt, completion }: Spec['task']) => (prompt === undefined) === (completion === undefined),
  ),
  'task-causal-only': twin(
    ({ type, prompt, completion, messages }: Spec['task']) =>
      type === 'causal-lm' || (prompt === undefined && completion === undefined && messages === undefined),
  ),
  'task-masked': twin(({ type, text }: Spec['task']) => type !== 'masked-lm' || text !== undefined),
  'text-template': template,
  'data-equal': fixed,
  'source-uri': matches(/^((https?|s3|file):\/\/[^ ]+|[^:]+)$/),

  'method-fixed': fixed,
  'seed-draw': twin((method: Spec['method']) => method.seedDraw === 'uniform' || method.seedPool > 0),
  'stage-probes-merged': twin((method: Spec['method']) =>
    method.plan.every(({ estimator }) => {
      const { min, max } = estimator?.probes ?? {};
      if ((min === undefined) === (max === undefined)) return true;
      return (min ?? method.estimator.probes.min) <= (max ?? method.estimator.probes.max);
    }),
  ),
  'epochs-in-rounds': twin(
    (stage: Stage) => stage.scope.type !== 'subspace' || stage.scope.epochs <= stage.rounds,
  ),
  calibration: twin(
    (scope: Scope) =>
      scope.type !== 'subspace' || scope.basis.type !== 'activation' || scope.basis.calibration !== undefined,
  ),
  'head-stage': twin((scope: Scope) => scope.type !== 'head' || scope.head),
  'layers-form': matches(/^(all|[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*)$/),
  'layers-order': twin((layers: string) =>
    layers.split(',').every((part) => {
      const range = /^([0-9]{1,4})-([0-9]{1,4})$/.exec(part);
      return !range || Number(range[1]) <= Number(range[2]);
    }),
  ),
  'probes-min-max': ordered,
  'stage-probes-min-max': twin(
    ({ min, max }: { min?: number; max?: number }) => min === undefined || max === undefined || min <= max,
  ),
  positive: twin((value: number) => value > 0),

  'stop-fixed': fixed,
  'target-range': twin(
    (target: NonNullable<Spec['stop']['target']>) => target.metric !== 'accuracy' || target.value <= 1,
  ),
  'evaluation-fixed': fixed,
  'checkpoint-fixed': fixed,

  'group-data-fixed': twin((group: Group, old) => (group.data === undefined) === (old.data === undefined)),
  'reserved-labels': twin(
    (template: Template) =>
      !Object.keys(template.metadata?.labels ?? {}).some((key) => key.startsWith('onebyte.dev/')),
  ),
  'worker-container': twin((template: Template) => {
    const containers = template.spec?.containers ?? [];
    return containers.length === 0 || containers.some((container) => container.name === 'worker');
  }),
  'managed-by-form': matches(/^[a-z0-9.-]+\/[A-Za-z0-9._-]+$/),
  'output-uri': matches(/^((s3|file):\/\/[^ ]+|[^:]+)$/),
  'nats-url': matches(/^(nats|tls|wss?):\/\/[^ ,]+(,(nats|tls|wss?):\/\/[^ ,]+)*$/),
};
