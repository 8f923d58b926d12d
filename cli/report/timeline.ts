/** Who took part when: one row per person, columns over rounds. Pure. */
import { count, percent, plural } from '../view/format.ts';
import type { History, Person } from './history.ts';
import { type Html, html } from './html.ts';
import { axis } from './scale.ts';

const HEIGHT = 20;
/** Columns of all rows together; keeps the file small with many workers. */
const CELLS = 9000;
const MOST_COLUMNS = 300;
/** Rows drawn; a run of thousands of short-lived workers names the rest in one line. */
const MOST_ROWS = 120;

/** Mean probes of the rounds it was in, and how many of those it missed; `share` 0: it was not in. */
interface Column {
  readonly share: number;
  readonly probes: number;
  readonly missed: number;
}

export function columnsOf(person: Person, span: number, size: number): Column[] {
  const columns: Column[] = [];
  for (let start = 0; start < span; start += size) {
    let [inside, missed, probes] = [0, 0, 0];
    const end = Math.min(span, start + size);
    for (let round = start; round < end; round += 1) {
      const n = person.perRound[round]!;
      if (n < 0) continue;
      inside += 1;
      if (n === 0) missed += 1;
      probes += n;
    }
    const ran = inside - missed;
    columns.push({
      share: inside / (end - start),
      probes: ran === 0 ? 0 : probes / ran,
      missed: inside === 0 ? 0 : missed / inside,
    });
  }
  return columns;
}

/** Bars as one path: neighbours of one height share a rectangle. */
function bars(heights: readonly number[], fromTop: boolean): string {
  let text = '';
  let start = 0;
  for (let i = 1; i <= heights.length; i += 1) {
    if (i < heights.length && heights[i] === heights[start]) continue;
    const height = heights[start]!;
    if (height > 0)
      text += `M${start} ${fromTop ? 0 : HEIGHT}h${i - start}v${fromTop ? height : -height}h${start - i}z`;
    start = i;
  }
  return text;
}

function row(person: Person, history: History, size: number, total: number): Html {
  const columns = columnsOf(person, history.span, size);
  const most = Math.max(1, history.mostProbes);
  const ran = columns.map(({ share, probes, missed }) =>
    share > 0 && missed < 1 ? Math.max(3, Math.round((probes / most) * HEIGHT)) : 0,
  );
  // Even one missed round of many in a column stays visible.
  const missed = columns.map((column) =>
    column.missed > 0 ? Math.max(5, Math.round(column.missed * HEIGHT)) : 0,
  );
  const share = total > 0 ? person.probes / total : 0;
  const label = `${person.name}: ${plural(person.took, 'round')}, ${count(person.missed)} missed`;
  return html`<tr><th scope="row">${person.name}${person.group !== '' && person.group !== person.name ? html`<small>${person.group}</small>` : null}</th>
<td class="strip"><svg viewBox="0 0 ${columns.length} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${label}"><path class="ran" d="${bars(ran, false)}"/><path class="missed" d="${bars(missed, true)}"/></svg></td>
<td>${count(person.probes)}</td><td>${percent(share)}</td><td>${count(person.took)}</td><td class="${person.missed > 0 ? 'warn' : 'zero'}">${count(person.missed)}</td><td class="span">${person.first < 0 ? '–' : `${count(person.first)}–${count(person.last)}`}</td></tr>
`;
}

export function timeline(history: History): Html {
  if (history.people.length === 0 || history.span === 0) return html`<p class="none">Nobody took part.</p>`;
  const shown = history.people.toSorted((a, b) => b.probes - a.probes).slice(0, MOST_ROWS);
  // In the order in which they came, whatever they did.
  const ordered = history.people.filter((person) => shown.includes(person));
  const columns = Math.max(20, Math.min(MOST_COLUMNS, Math.floor(CELLS / ordered.length)));
  const size = Math.max(1, Math.ceil(history.span / columns));
  const total = history.people.reduce((sum, person) => sum + person.probes, 0);
  const rest = history.people.length - ordered.length;
  // The strip covers whole columns, so the axis does too.
  const drawn = Math.ceil(history.span / size) * size;
  const ticks = axis(0, history.span, 4, true).ticks.map(
    (tick) =>
      html`<span class="tick x" style="left:${`${Number(((tick / drawn) * 100).toFixed(2))}%`}">${count(tick)}</span>`,
  );
  const per = size === 1 ? 'each column is a round' : `each column is ${plural(size, 'round')}`;
  return html`<div class="scroll"><table class="people">
<thead><tr><th scope="col">worker</th><th scope="col" class="wide">rounds</th><th scope="col">probes</th><th scope="col">share</th><th scope="col">rounds</th><th scope="col">missed</th><th scope="col">first–last</th></tr></thead>
<tbody>
${ordered.map((person) => row(person, history, size, total))}<tr class="axis"><th scope="row"></th><td class="strip"><div>${ticks}</div></td><td></td><td></td><td></td><td></td><td class="span"></td></tr>
</tbody></table></div>
<p class="note"><span class="key ran"><i></i>took part, height by probes</span><span class="key missed"><i></i>missed</span>; ${per}.${rest > 0 ? ` ${plural(rest, 'more worker')} with fewer probes not drawn.` : ''}</p>
`;
}
