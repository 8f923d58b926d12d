/** The view for what is no terminal: one line at a time, readable in a log. Pure. */
import { bytes, count, duration, loss, metric, modelName, percent, plural, rate } from './format.ts';
import { best, type EventLine, type ViewModel } from './model.ts';
import { elapsedLabel, leftOf, paceOf } from './pace.ts';

export function headerLine(model: ViewModel): string {
  const { stages, rounds } = model.plan;
  const labels = stages.map((stage) => `${stage.label} x ${count(stage.rounds)}`).join(', then ');
  return `${model.job.name}: ${modelName(model.job.model)}, ${plural(rounds, 'round')}: ${labels}`;
}

export function plainEvent(model: ViewModel, line: EventLine): string {
  const level = line.tone === 'warning' || line.tone === 'error' ? `${line.tone}: ` : '';
  return `${elapsedLabel(model, line.at)} ${level}${line.text}`;
}

export function plainProgress(model: ViewModel, now: number): string {
  const at = elapsedLabel(model, now);
  if (model.seen === 0 || model.phase !== null) {
    const share = model.phase?.share;
    return `${at} ${model.phase?.text ?? 'starting'}${share === undefined ? '' : ` ${percent(share)}`}`;
  }
  const { plan } = model;
  const pace = paceOf(model, now);
  const latest = model.evaluated.at(-1);
  const shown = latest === undefined ? undefined : best(latest.splits);
  const { seconds, wholeRun } = leftOf(model, now);
  const parts = [
    `round ${count(model.rounds)}/${count(plan.rounds)}`,
    ...(plan.stages.length > 1 ? [`stage ${model.stage + 1}/${plan.stages.length}`] : []),
    `loss ${loss(model.smoothLoss)}`,
    ...(shown === undefined ? [] : [`${shown.split} accuracy ${metric(shown.accuracy)}`]),
    `${rate(pace.roundsPerSecond)} rounds/s`,
    `${rate(pace.examplesPerSecond)} examples/s`,
    `payload ${bytes(model.payloadBytes)}`,
    ...(Number.isFinite(model.wireBytes) ? [`wire ${bytes(model.wireBytes)}`] : []),
    plural(model.members.filter((row) => row.state === 'in').length, 'worker'),
    ...(Number.isFinite(seconds) ? [`${duration(seconds)} left${wholeRun ? '' : ' in this stage'}`] : []),
  ];
  return `${at} ${parts.join('  ')}`;
}
