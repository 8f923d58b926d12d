/** How fast a run goes and how long it has to go, from the view's model. Pure. */
import { duration } from './format.ts';
import type { ViewModel } from './model.ts';

export interface Pace {
  readonly roundsPerSecond: number;
  readonly examplesPerSecond: number;
}

/** Speed over the last ten seconds or so; a run that stalls slows down on screen too. NaN before the first round. */
export function paceOf(model: ViewModel, now: number): Pace {
  const oldest = model.pace[0];
  const seconds = oldest === undefined ? 0 : (now - oldest.at) / 1000;
  if (oldest === undefined || model.seen === 0 || !(seconds > 0)) {
    return { roundsPerSecond: Number.NaN, examplesPerSecond: Number.NaN };
  }
  return {
    roundsPerSecond: (model.seen - oldest.rounds) / seconds,
    examplesPerSecond: (model.examples - oldest.examples) / seconds,
  };
}

/**
 * Seconds left, by the pace of the stage under way. Other stages cost differently, so before the last stage this is
 * the time left in the stage, not in the run.
 */
export function leftOf(
  model: ViewModel,
  now: number,
): { readonly seconds: number; readonly wholeRun: boolean } {
  const stage = model.plan.stages[model.stage];
  const wholeRun = model.stage >= model.plan.stages.length - 1;
  const done = model.rounds - model.stageBegan.round;
  const spent = (now - model.stageBegan.at) / 1000;
  if (stage === undefined || done <= 0 || !(spent > 0)) return { seconds: Number.NaN, wholeRun };
  const left = Math.max(0, stage.first + stage.rounds - model.rounds);
  const recent = paceOf(model, now).roundsPerSecond;
  return { seconds: left / (recent > 0 ? recent : done / spent), wholeRun };
}

export function elapsedLabel(model: ViewModel, at: number): string {
  return duration((at - model.startedAt) / 1000);
}
