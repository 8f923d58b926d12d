/** The live view as lines of text. Pure: the same model, size and time give the same lines. */

import { bar, curve, rangeOf, sparkline } from './chart.ts';
import { bytes, compact, count, duration, loss, metric, modelName, percent, plural, rate } from './format.ts';
import { best, type EventLine, type ViewModel } from './model.ts';
import { elapsedLabel, leftOf, paceOf } from './pace.ts';
import { cutRows, workers } from './people.ts';
import { resample } from './series.ts';
import type { Paint } from './text.ts';
import { clipStyled, columns, left, printable, right } from './text.ts';

/** Wider than this, lines only become harder to follow. */
const WIDEST = 112;
const AXIS = 8;

/**
 * At most `height` lines of at most `width` columns. Where room is short, events go first, then the curve shrinks,
 * then the list of workers is cut.
 */
export function render(model: ViewModel, width: number, height: number, now: number, paint: Paint): string[] {
  const wide = Math.max(1, Math.min(WIDEST, Math.floor(width)));
  const tall = Math.max(1, Math.floor(height));
  const head = [...title(model, wide, paint), '', ...progress(model, wide, now, paint), ''];
  const figures = [...(model.seen === 0 ? planned(model, paint) : headline(model, wide, now, paint)), ''];
  const fixed = head.length + figures.length;
  const rows = workers(model, wide, paint);
  const room = tall - fixed;
  const curveRows = Math.min(7, Math.max(3, room - Math.min(rows.length, 8) - 7));
  const lossLines = room >= 6 ? [...lossCurve(model, wide, curveRows, paint), ''] : [];
  const forRows = Math.max(0, room - lossLines.length);
  const people = forRows >= 2 ? [...cutRows(rows, forRows, paint), ''] : [];
  const events = model.events.slice(-Math.max(0, Math.min(6, forRows - people.length)));
  const tail = forRows - people.length > 0 ? events.map((line) => eventLine(model, line, paint)) : [];
  const lines = [...head, ...figures, ...lossLines, ...people, ...tail].slice(0, tall);
  while (lines.at(-1) === '') lines.pop();
  return lines.map((line) => clipStyled(line, wide));
}

/** `start` at the left and `end` at the right of a line of `width` columns; `end` goes where both do not fit. */
function ends(start: string, end: string, width: number): string {
  const gap = width - columns(start) - columns(end);
  return gap < 2 ? start : start + ' '.repeat(gap) + end;
}

/** The first of `starts` that fits a line together with `end`; where none does, `end` alone. */
function roomFor(starts: readonly string[], end: string, width: number): string {
  const start = starts.find((text) => columns(text) + columns(end) + 2 <= width);
  return start === undefined ? end : ends(start, end, width);
}

function title(model: ViewModel, width: number, paint: Paint): string[] {
  const weights = Number.isFinite(model.weights) ? `, ${compact(model.weights)} weights` : '';
  const about = printable(`${modelName(model.job.model)}${weights}`);
  return [ends(`${paint.bold(model.job.name)}  ${paint.dim(about)}`, paint.dim('onebyte'), width)];
}

function progress(model: ViewModel, width: number, now: number, paint: Paint): string[] {
  const { plan } = model;
  if (model.seen === 0) {
    const share = model.phase?.share;
    const track = share === undefined ? [] : [trackLine(share, Math.min(width, 40), paint)];
    const elapsed = paint.dim(elapsedLabel(model, now));
    return [ends(model.phase?.text ?? 'starting', elapsed, width), ...track];
  }
  const stage = plan.stages[model.stage];
  const trained = model.trained[model.stage];
  const about = trained !== undefined && Number.isFinite(trained) ? `, ${compact(trained)} trained` : '';
  const which = plan.stages.length > 1 ? `stage ${model.stage + 1}/${plan.stages.length}  ` : '';
  const share = plan.rounds > 0 ? model.rounds / plan.rounds : 0;
  const { seconds, wholeRun } = leftOf(model, now);
  const most = plan.mayEndSooner && wholeRun ? 'at most ' : '';
  const leftText = `${most}${duration(seconds)} left${wholeRun ? '' : ' in this stage'}`;
  const full = `${paint.dim(which)}${stage?.label ?? ''}${paint.dim(about)}`;
  const end = `round ${count(model.rounds)} of ${count(plan.rounds)}  ${paint.bold(percent(share))}`;
  return [
    roomFor([full, `${paint.dim(which)}${stage?.label ?? ''}`, stage?.label ?? ''], end, width),
    trackLine(share, width, paint),
    ends(
      paint.dim(`${elapsedLabel(model, now)} elapsed`),
      paint.dim(model.phase?.text ?? (Number.isFinite(seconds) ? leftText : '')),
      width,
    ),
  ];
}

function trackLine(share: number, width: number, paint: Paint): string {
  const { done, rest } = bar(share, width);
  return paint.cyan(done) + paint.dim(rest);
}

/** The stages to come, while nothing else is known. */
function planned(model: ViewModel, paint: Paint): string[] {
  const { stages } = model.plan;
  const first = Math.max(0, ...stages.map((stage) => columns(stage.label)));
  return stages.map(
    (stage, i) =>
      `${paint.dim(`${i + 1}`)}  ${left(stage.label, first)}  ${paint.dim(plural(stage.rounds, 'round'))}`,
  );
}

interface Figure {
  readonly label: string;
  readonly value: string;
  /** Drawn behind the value. */
  readonly trail?: string;
}

/** Labels above values, as many columns as the width takes; the first figures are the ones that matter most. */
function headline(model: ViewModel, width: number, now: number, paint: Paint): string[] {
  const pace = paceOf(model, now);
  const latest = model.evaluated.at(-1);
  const shown = latest === undefined ? undefined : best(latest.splits);
  const trail = model.evaluated.slice(-8).map((entry) => best(entry.splits)?.accuracy ?? Number.NaN);
  const drawn = trail.length > 1 ? ` ${sparkline(trail)}` : '';
  const figures: Figure[] = [
    { label: 'training loss', value: loss(model.smoothLoss) },
    {
      label: `${shown?.split ?? 'validation'} accuracy`,
      value: metric(shown?.accuracy ?? Number.NaN),
      trail: drawn,
    },
    { label: 'rounds/s', value: rate(pace.roundsPerSecond) },
    { label: 'examples/s', value: rate(pace.examplesPerSecond) },
    { label: 'payload', value: bytes(model.payloadBytes) },
    { label: 'wire', value: bytes(model.wireBytes) },
    {
      label: 'journal',
      value: bytes(Number.isFinite(model.journalBytes) ? model.journalBytes : model.recordBytes),
    },
  ];
  const cell = ({ label, value, trail = '' }: Figure): number =>
    Math.max(columns(label), columns(value + trail), 8) + 3;
  const fitting: Figure[] = [];
  let used = 0;
  for (const figure of figures) {
    used += cell(figure);
    if (used - 3 > width) break;
    fitting.push(figure);
  }
  const value = (figure: Figure): string => {
    const { trail = '' } = figure;
    const rest = ' '.repeat(cell(figure) - columns(figure.value + trail));
    return paint.bold(figure.value) + paint.cyan(trail) + rest;
  };
  return [
    paint.dim(
      fitting
        .map((figure) => left(figure.label, cell(figure)))
        .join('')
        .trimEnd(),
    ),
    fitting.map(value).join('').trimEnd(),
  ];
}

function lossCurve(model: ViewModel, width: number, rows: number, paint: Paint): string[] {
  const wide = width - AXIS - 1;
  if (wide < 10 || model.loss.buckets.length === 0) return [];
  const values = resample(model.loss, 0, Math.max(1, model.rounds), wide * 2);
  const range = rangeOf(values);
  if (range === null) return [];
  const drawn = curve(values, wide, rows, range);
  const lines = drawn.map((line, row) => {
    const value = row === 0 ? range.high : row === drawn.length - 1 ? range.low : Number.NaN;
    const label = Number.isFinite(value) ? loss(value) : '';
    return `${paint.dim(`${right(label, AXIS - 1)} ${label === '' ? '│' : '┤'}`)}${marked(model, line, wide, paint)}`;
  });
  const end = `round ${count(model.rounds)}`;
  const axis = `${' '.repeat(AXIS)}└${'─'.repeat(Math.max(0, wide - end.length - 1))} ${end}`;
  return [...lines, paint.dim(axis)];
}

/** The curve's row in colour, with a faint line where a stage begins. */
function marked(model: ViewModel, line: string, width: number, paint: Paint): string {
  const borders = new Set(
    model.plan.stages
      .slice(1)
      .filter((stage) => stage.first < model.rounds)
      .map((stage) => Math.floor((stage.first / Math.max(1, model.rounds)) * width)),
  );
  let text = '';
  let run = '';
  for (let at = 0; at < line.length; at += 1) {
    if (borders.has(at) && line[at] === ' ') {
      text += (run === '' ? '' : paint.cyan(run)) + paint.dim('┊');
      run = '';
    } else run += line[at];
  }
  return text + (run === '' ? '' : paint.cyan(run));
}

export function eventLine(model: ViewModel, line: EventLine, paint: Paint): string {
  const tones = { info: String, good: paint.green, warning: paint.yellow, error: paint.red } as const;
  return `${paint.dim(right(elapsedLabel(model, line.at), 6))}  ${tones[line.tone](line.text)}`;
}
