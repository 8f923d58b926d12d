/** The report's parts that are words and numbers. Pure. */
import type { BeforeAfter, Score } from '../view/events.ts';
import { bytes, compact, count, duration, loss, metric, payloadText, plural } from '../view/format.ts';
import type { History } from './history.ts';
import { type Html, html } from './html.ts';
import type { ReportInput } from './input.ts';

/** Events listed; the rest is a number. */
const MOST_EVENTS = 60;

/** The score that speaks for the run: the test split's where there is one, of all groups together. */
function headlineScore(scores: readonly Score[]): Score | undefined {
  const whole = scores.filter((score) => score.group === undefined);
  return (
    whole.find((score) => score.split === 'test') ??
    whole.find((score) => score.split === 'validation') ??
    whole[0]
  );
}

export function figures({ result }: ReportInput): Html {
  const score = headlineScore(result.scores);
  const items: (readonly [string, string, string])[] = [];
  if (score?.metric !== undefined) {
    items.push([
      `${score.split} ${score.metric.name}`,
      metric(score.metric.after),
      `from ${metric(score.metric.before)}`,
    ]);
  }
  if (score !== undefined)
    items.push([`${score.split} loss`, loss(score.loss.after), `from ${loss(score.loss.before)}`]);
  items.push(
    ['rounds', count(result.rounds), duration(result.seconds)],
    ['workers', count(result.workers), `${compact(result.forwards)} forward passes`],
    ['payload', bytes(result.payloadBytes), payloadText(result)],
    ['journal', bytes(result.journalBytes), 'rebuilds the model'],
  );
  return html`<dl class="figures">${items.map(
    ([label, value, about]) => html`<div><dt>${label}</dt><dd>${value}<small>${about}</small></dd></div>`,
  )}</dl>
`;
}

function pair({ before, after }: BeforeAfter, show: (value: number) => string): Html {
  return html`<td class="from">${show(before)}</td><td>${show(after)}</td>`;
}

export function scores({ result }: ReportInput): Html {
  if (result.scores.length === 0) return html`<p class="none">Nothing was evaluated.</p>`;
  const name = result.scores.find((score) => score.metric !== undefined)?.metric?.name;
  return html`<div class="scroll"><table>
<thead><tr><th scope="col">split</th><th scope="col">examples</th><th scope="col">loss before</th><th scope="col">after</th>${
    name === undefined ? null : html`<th scope="col">${name} before</th><th scope="col">after</th>`
  }</tr></thead>
<tbody>${result.scores.map(
    (
      score,
    ) => html`<tr class="${score.group === undefined ? 'whole' : 'part'}"><th scope="row">${score.group ?? score.split}</th><td>${count(score.examples)}</td>${pair(score.loss, loss)}${
      name === undefined
        ? null
        : score.metric === undefined
          ? html`<td></td><td></td>`
          : pair(score.metric, metric)
    }</tr>
`,
  )}</tbody></table></div>
`;
}

export function events(history: History): Html | null {
  if (history.events.length === 0) return null;
  // Faults first where not all fit.
  const ranked = history.events.toSorted((a, b) => rank(a.tone) - rank(b.tone)).slice(0, MOST_EVENTS);
  const shown = history.events.filter((event) => ranked.includes(event));
  const rest = history.events.length - shown.length;
  return html`<section><h2>Events</h2><ul class="events">${shown.map(
    (event) => html`<li class="${event.tone}"><span>${count(event.round)}</span>${event.text}</li>`,
  )}</ul>${rest > 0 ? html`<p class="note">and ${plural(rest, 'more event')}</p>` : null}</section>
`;
}

function rank(tone: 'info' | 'warning' | 'error'): number {
  return tone === 'error' ? 0 : tone === 'warning' ? 1 : 2;
}

export function verification(input: ReportInput): Html {
  return html`<pre class="command">${input.verify}</pre>
<p class="note">This rebuilds the trained weights from the base model and the journal, on any machine, and ends with exit code 0 only when every digest in the journal is met. The digest of the trained weights is the first of these:</p>
<dl class="digests"><dt>trained weights</dt><dd><code><b>${input.result.digest}</b></code></dd>${input.digests.map(
    ({ what, digest }) => html`<dt>${what}</dt><dd><code>${digest}</code></dd>`,
  )}</dl>
`;
}
