/** The table at the end of a run. Pure. */

import type { BeforeAfter, RunResult, Score } from './events.ts';
import { bytes, count, duration, loss, metric, payloadText } from './format.ts';
import type { Paint } from './text.ts';
import { clipStyled, columns, left, printable, right } from './text.ts';

const REASONS: Readonly<Record<RunResult['reason'], string>> = {
  rounds: 'all rounds done',
  forwards: 'the budget of forward passes is used up',
  target: 'the target is reached',
  cancelled: 'cancelled',
};

export function renderResult(result: RunResult, width: number, paint: Paint): string[] {
  const mark = result.reason === 'cancelled' ? paint.yellow('■') : paint.green('✔');
  const head = `${mark} ${paint.bold(printable(result.name))}  ${paint.dim(REASONS[result.reason])}`;
  const lines = [head, '', ...scores(result.scores, paint)];
  if (result.scores.length > 0) lines.push('');
  lines.push(...totals(result, paint), '', ...files(result, width, paint));
  return lines.map((line) => clipStyled(line.trimEnd(), width));
}

const ARROW = ' → ';

function scores(rows: readonly Score[], paint: Paint): string[] {
  if (rows.length === 0) return [];
  const labels = rows.map((row) => (row.group === undefined ? row.split : `  ${printable(row.group)}`));
  const first = Math.max(12, ...labels.map(columns)) + 2;
  const name = rows.find((row) => row.metric !== undefined)?.metric?.name ?? '';
  const heading = `  ${left('', first)}${right('examples', 9)}   ${left('loss', 18)}   ${printable(name)}`;
  const lines = [paint.dim(heading)];
  rows.forEach((row, i) => {
    const whole = row.group === undefined;
    const label = left(labels[i]!, first);
    const lossText = change(row.loss, loss, 7, paint, whole, (d) => d < 0);
    const metricText =
      row.metric === undefined ? '' : change(row.metric, metric, 5, paint, whole, (d) => d > 0);
    lines.push(
      `  ${whole ? paint.bold(label) : label}${right(count(row.examples), 9)}   ${padded(lossText, 18)}   ${metricText}`,
    );
  });
  return lines;
}

/** Pads styled text on the right. */
function padded(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - columns(text)));
}

function change(
  { before, after }: BeforeAfter,
  show: (value: number) => string,
  width: number,
  paint: Paint,
  strong: boolean,
  better: (difference: number) => boolean,
): string {
  const tone = better(after - before) ? paint.green : after === before ? String : paint.yellow;
  const last = tone(right(show(after), width));
  return `${paint.dim(right(show(before), width) + ARROW)}${strong ? paint.bold(last) : last}`;
}

function totals(result: RunResult, paint: Paint): string[] {
  const items: (readonly [string, string])[] = [
    ['rounds', count(result.rounds)],
    ['workers', count(result.workers)],
    [
      'forward passes',
      `${count(result.forwards)}  ${paint.dim(`${count(result.examples)} example-forwards`)}`,
    ],
    ['payload', `${bytes(result.payloadBytes)}  ${paint.dim(payloadText(result))}`],
    ['wire', bytes(result.wireBytes)],
    ['journal', bytes(result.journalBytes)],
    ['time', duration(result.seconds)],
    ['digest', printable(result.digest)],
  ];
  return items.map(([label, value]) => `  ${paint.dim(left(label, 14))}  ${value}`);
}

function files(result: RunResult, width: number, paint: Paint): string[] {
  const paths = result.files.map((file) => printable(file.path));
  const first = Math.min(Math.max(14, ...paths.map(columns)), Math.max(14, Math.floor(width * 0.6)));
  const lines = result.files.map((file, i) => {
    const size = file.bytes === undefined ? '' : bytes(file.bytes);
    return `  ${padded(paths[i]!, first)}  ${paint.dim(`${right(size, 8)}  ${printable(file.what)}`)}`;
  });
  if (result.verify === undefined) return lines;
  return [...lines, '', `  ${paint.dim('check it with')}  ${printable(result.verify)}`];
}
