/** The report of a run: one HTML file that needs nothing else, not even JavaScript. Pure. */
import { createHash } from 'node:crypto';
import type { EvaluationPoint } from '../view/events.ts';
import { compact, loss, metric, modelName, plural } from '../view/format.ts';
import { gather, type History } from './history.ts';
import { type Html, html, trusted } from './html.ts';
import type { ReportInput } from './input.ts';
import { type PlotLine, plot } from './plot.ts';
import { downsample, drawable, quantile, smooth } from './scale.ts';
import { events, figures, scores, verification } from './sections.ts';
import { SCRIPT, STYLE } from './style.ts';
import { timeline } from './timeline.ts';
import { traffic } from './traffic.ts';

const POINTS = 400;
const EVALUATION_POINTS = 200;
const ENDS = {
  rounds: 'all rounds done',
  forwards: 'ended by its budget of forward passes',
  target: 'ended at its target',
  cancelled: 'cancelled',
} as const;

/** The whole file. Everything from outside is escaped; nothing is fetched, and a policy in the page forbids it. */
export function renderReport(input: ReportInput): string {
  const history = gather(input.observed);
  const hash = createHash('sha256').update(SCRIPT).digest('base64');
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${hash}'`;
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${policy}"><meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark"><title>${input.job.name} · Onebyte</title><style>${trusted(STYLE)}</style></head>
<body><main>
<header><h1>${input.job.name}</h1><p>${subtitle(input)}</p></header>
<section style="border:0;padding:0">${figures(input)}</section>
<section><h2>Training</h2><div class="pair">${lossPlot(input, history)}${accuracyPlot(input, history)}</div></section>
<section><h2>Before and after</h2>${scores(input)}</section>
<section><h2>Who took part</h2>${timeline(history)}</section>
<section><h2>Bytes</h2>${traffic(input, history)}</section>
${events(history)}<section><h2>Check it</h2>${verification(input)}</section>
<section><h2>Job</h2><pre>${input.jobText}</pre></section>
<footer>Made by onebyte from the run’s journal.</footer>
</main><script>${trusted(SCRIPT)}</script></body></html>
`.text;
}

function subtitle(input: ReportInput): string {
  const weights = Number.isFinite(input.weights) ? `${compact(input.weights)} weights` : '';
  const started = Number.isFinite(input.startedAt) ? utc(input.startedAt) : '';
  const stages = input.plan.stages.map((stage) => stage.label).join(', then ');
  return [modelName(input.job.model), weights, stages, started, ENDS[input.result.reason]]
    .filter((part) => part !== '')
    .join(' · ');
}

/** `2026-03-01 14:02 UTC`; nothing where the time is out of a date's range. */
function utc(milliseconds: number): string {
  if (Math.abs(milliseconds) > 8.64e15) return '';
  return `${new Date(milliseconds).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

/** The stages that the run reached; one alone needs no name in the picture. */
function stages(input: ReportInput, history: History): { from: number; to: number; label: string }[] {
  const reached = input.plan.stages
    .filter((stage) => stage.first < history.span)
    .map(({ first, rounds, label }) => ({ from: first, to: Math.min(history.span, first + rounds), label }));
  return reached.length > 1 ? reached : [];
}

/** Few enough points for a picture; the first and the last stay. */
function thin(points: readonly EvaluationPoint[]): readonly EvaluationPoint[] {
  if (points.length <= EVALUATION_POINTS) return points;
  const step = (points.length - 1) / (EVALUATION_POINTS - 1);
  return Array.from({ length: EVALUATION_POINTS }, (_, i) => points[Math.round(i * step)]!);
}

function evaluationLines(history: History, value: (point: EvaluationPoint) => number): PlotLine[] {
  return (['validation', 'test'] as const).map((split) => {
    const points = thin(
      history.evaluations.filter((point) => point.split === split && drawable(value(point))),
    );
    return {
      name: split,
      tone: split,
      points: points.map((point) => ({ round: point.round, value: value(point) })),
      dots: points.length <= 40,
      // A split that is evaluated before and after only is no curve.
      apart: split === 'test' && points.length <= 2,
    };
  });
}

function lossPlot(input: ReportInput, history: History): Html {
  const raw = history.rounds.map((seen) => ({ round: seen.round, value: seen.loss }));
  const sampled = downsample(raw, history.span, POINTS);
  const means = smooth(
    sampled.map((point) => point.mean),
    Math.max(1, Math.round(sampled.length / 60)),
  );
  const lines: PlotLine[] = [
    {
      name: 'training',
      tone: 'train',
      points: sampled.map((point, i) => ({ round: point.round, value: means[i]! })),
    },
    ...evaluationLines(history, (point) => point.loss),
  ];
  // A single wild round must not flatten the rest: the axis covers nearly all of the rounds, and every line.
  const drawn = lines.flatMap((line) => line.points.map((point) => point.value));
  const least = sampled.map((point) => point.min);
  const greatest = sampled.map((point) => point.max);
  const low = Math.min(quantile(least, 0.02), quantile(drawn, 0.005));
  const high = Math.max(quantile(greatest, 0.98), quantile(drawn, 0.995));
  return plot({
    title: 'Loss',
    lines,
    bands: sampled.length >= 2 ? bandOf(sampled, means) : [],
    range: { low, high },
    span: history.span,
    stages: stages(input, history),
    show: loss,
  });
}

/** What lies between the rounds and their average: where every round is a point, the band reaches from one to the other. */
function bandOf(
  sampled: readonly { readonly round: number; readonly min: number; readonly max: number }[],
  means: readonly number[],
): { round: number; min: number; max: number }[] {
  return sampled.map((point, i) => ({
    round: point.round,
    min: Math.min(point.min, means[i]!),
    max: Math.max(point.max, means[i]!),
  }));
}

function accuracyPlot(input: ReportInput, history: History): Html {
  const lines = evaluationLines(history, (point) => point.accuracy);
  const values = lines.flatMap((line) => line.points.map((point) => point.value));
  if (values.length === 0) {
    return html`<figure><figcaption><span class="title">Accuracy</span></figcaption><p class="none">Never evaluated (${plural(history.rounds.length, 'round')}).</p></figure>`;
  }
  return plot({
    title: 'Accuracy',
    lines,
    range: { low: Math.min(...values), high: Math.max(...values) },
    span: history.span,
    stages: stages(input, history),
    show: metric,
  });
}
