/**
 * Line charts. The picture is an SVG that stretches with the page (strokes keep their width); the labels are HTML laid
 * over it by percentages, so that text keeps its size on every screen and on paper.
 */
import { count } from '../view/format.ts';
import { type Html, html } from './html.ts';
import { type Axis, axis, tickLabel } from './scale.ts';

export interface PlotPoint {
  readonly round: number;
  readonly value: number;
}

export interface PlotBand {
  readonly round: number;
  readonly min: number;
  readonly max: number;
}

/** `tone` is a class of the style sheet: it gives the colour. */
export interface PlotLine {
  readonly name: string;
  readonly tone: 'train' | 'validation' | 'test';
  readonly points: readonly PlotPoint[];
  /** A dot at each point; for few points. */
  readonly dots?: boolean;
  /** No line between the points, as for two measurements far apart. */
  readonly apart?: boolean;
}

export interface PlotInput {
  readonly title: string;
  readonly lines: readonly PlotLine[];
  readonly bands?: readonly PlotBand[];
  readonly range: { readonly low: number; readonly high: number };
  /** Rounds that the horizontal axis covers: 0..span. */
  readonly span: number;
  /** Named parts of the horizontal axis; a line stands where one begins. */
  readonly stages: readonly { readonly from: number; readonly to: number; readonly label: string }[];
  readonly show: (value: number) => string;
}

const WIDTH = 1000;
const HEIGHT = 400;

export function plot(input: PlotInput): Html {
  const vertical = axis(input.range.low, input.range.high, 4);
  const horizontal = axis(0, Math.max(1, input.span), 5, true);
  const x = (round: number): number => (round / Math.max(1, input.span)) * WIDTH;
  const y = (value: number): number =>
    HEIGHT -
    ((Math.min(vertical.high, Math.max(vertical.low, value)) - vertical.low) /
      (vertical.high - vertical.low)) *
      HEIGHT;
  const drawn = input.lines.filter((line) => line.points.length > 0);
  const latest = drawn.map((line) => `${line.name} ${input.show(line.points.at(-1)!.value)}`).join(', ');
  return html`<figure class="plot"${hoverData(input)}>
<figcaption><span class="title">${input.title}</span>${drawn.map(
    (line) =>
      html`<span class="key ${line.tone}"><i></i>${line.name} <b data-line="${line.name}">${input.show(line.points.at(-1)!.value)}</b></span>`,
  )}</figcaption>
<div class="canvas">
${labels(vertical, horizontal, input, x, y)}
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${`${input.title} over rounds; last: ${latest}`}">
${grid(vertical, input, x, y)}${input.bands === undefined ? null : band(input.bands, x, y)}${drawn.map(
  (line) =>
    line.apart === true ? null : html`<path class="line ${line.tone}" d="${path(line.points, x, y)}"/>`,
)}</svg>
${drawn.map((line) => (line.dots === true ? dots(line, x, y) : null))}<span class="cursor" hidden><span class="at"></span></span>
</div>
</figure>
`;
}

const percent = (value: number, whole: number): string => `${Number(((value / whole) * 100).toFixed(2))}%`;
const short = (value: number): string => String(Number(value.toFixed(1)));

function path(points: readonly PlotPoint[], x: (n: number) => number, y: (n: number) => number): string {
  return points
    .map(({ round, value }, i) => `${i === 0 ? 'M' : 'L'}${short(x(round))} ${short(y(value))}`)
    .join('');
}

function band(bands: readonly PlotBand[], x: (n: number) => number, y: (n: number) => number): Html | null {
  if (bands.length < 2) return null;
  const top = bands
    .map(({ round, max }, i) => `${i === 0 ? 'M' : 'L'}${short(x(round))} ${short(y(max))}`)
    .join('');
  const bottom = bands
    .toReversed()
    .map(({ round, min }) => `L${short(x(round))} ${short(y(min))}`)
    .join('');
  return html`<path class="band" d="${top}${bottom}Z"/>`;
}

function grid(vertical: Axis, input: PlotInput, x: (n: number) => number, y: (n: number) => number): Html {
  const lines = vertical.ticks.map((tick) => `M0 ${short(y(tick))}H${WIDTH}`).join('');
  const marks = input.stages
    .filter(({ from }) => from > 0)
    .map(({ from }) => `M${short(x(from))} 0V${HEIGHT}`)
    .join('');
  return html`<path class="grid" d="${lines}"/>${marks === '' ? null : html`<path class="mark" d="${marks}"/>`}`;
}

function labels(
  vertical: Axis,
  horizontal: Axis,
  input: PlotInput,
  x: (n: number) => number,
  y: (n: number) => number,
): Html {
  const across = horizontal.ticks.map(
    (tick) => html`<span class="tick x" style="left:${percent(x(tick), WIDTH)}">${count(tick)}</span>`,
  );
  const up = vertical.ticks.map(
    (tick) =>
      html`<span class="tick y" style="top:${percent(y(tick), HEIGHT)}">${tickLabel(tick, vertical.ticks)}</span>`,
  );
  const stages = input.stages.map(({ from, to, label }) => {
    const place = `left:${percent(x(from), WIDTH)};width:${percent(x(to) - x(from), WIDTH)}`;
    return html`<span class="stage" style="${place}" title="${label}">${label}</span>`;
  });
  return html`${up}${across}${stages}`;
}

function dots(line: PlotLine, x: (n: number) => number, y: (n: number) => number): Html {
  return html`${line.points.map(
    ({ round, value }) =>
      html`<i class="dot ${line.tone}" style="left:${percent(x(round), WIDTH)};top:${percent(y(value), HEIGHT)}"></i>`,
  )}`;
}

/** What the script reads: per line its rounds and texts. */
function hoverData(input: PlotInput): Html {
  const data = {
    span: input.span,
    lines: input.lines
      .filter((line) => line.points.length > 0)
      .map((line) => ({
        name: line.name,
        at: line.points.map(({ round }) => Math.round(round)),
        text: line.points.map(({ value }) => input.show(value)),
      })),
  };
  return html` data-plot="${JSON.stringify(data)}"`;
}
