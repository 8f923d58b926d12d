/** Bytes of the run against what gradients of the same rounds would have cost. Pure. */
import { bytes, compact, count, payloadText } from '../view/format.ts';
import { type Plan, stageAt } from '../view/plan.ts';
import type { History } from './history.ts';
import { type Html, html } from './html.ts';
import type { ReportInput } from './input.ts';

const FP16_BYTES = 2;

/**
 * Bytes that a ring all-reduce of `weights` fp16 numbers among `workers` puts on the links, all of them together: each
 * worker sends 2 (n - 1) / n of the buffer (Patarasuk and Yuan 2009, bandwidth-optimal).
 */
export function allReduceBytes(weights: number, workers: number): number {
  return workers < 2 ? 0 : 2 * (workers - 1) * FP16_BYTES * weights;
}

export interface GradientCost {
  /** Over all rounds, with the workers that took part in each; NaN where the number of weights is not known. */
  readonly trained: number;
  readonly whole: number;
}

export function gradientCost(
  history: History,
  plan: Plan,
  trained: readonly number[],
  weights: number,
): GradientCost {
  let [tuned, whole] = [0, 0];
  for (const seen of history.rounds) {
    const present = seen.members.filter((member) => member.probes > 0).length;
    tuned += allReduceBytes(trained[stageAt(plan, seen.round)] ?? Number.NaN, present);
    whole += allReduceBytes(weights, present);
  }
  return { trained: tuned, whole };
}

interface Row {
  readonly name: string;
  readonly about: string;
  readonly total: number;
  readonly ours: boolean;
}

function times(value: number, base: number): string {
  if (!(base > 0) || !Number.isFinite(value)) return '–';
  const ratio = value / base;
  return ratio >= 1000 ? `${compact(ratio)}×` : `${ratio.toFixed(ratio < 10 ? 1 : 0)}×`;
}

export function traffic(input: ReportInput, history: History): Html {
  const { result, plan } = input;
  const rounds = history.rounds.length;
  const cost = gradientCost(history, plan, input.trained, input.weights);
  const rows: readonly Row[] = [
    { name: 'Payload', about: payloadText(result), total: result.payloadBytes, ours: true },
    {
      name: 'Journal',
      about: 'all that a replay needs beside the base model',
      total: result.journalBytes,
      ours: true,
    },
    {
      name: 'Wire',
      about: 'all bytes between the processes of this run',
      total: result.wireBytes,
      ours: true,
    },
    {
      name: 'Gradients of the trained weights',
      about: 'fp16, ring all-reduce',
      total: cost.trained,
      ours: false,
    },
    { name: 'Gradients of the whole model', about: 'fp16, ring all-reduce', total: cost.whole, ours: false },
  ];
  const most = Math.max(10, ...rows.map((row) => (Number.isFinite(row.total) ? row.total : 0)));
  const decades = Math.ceil(Math.log10(most));
  const bar = (total: number): Html | null =>
    total >= 1 && Number.isFinite(total)
      ? html`<i style="width:${`${Number(((Math.log10(total) / decades) * 100).toFixed(2))}%`}"></i>`
      : null;
  const powers = Array.from({ length: Math.floor(decades / 3) + 1 }, (_, i) => i * 3);
  const ticks = powers.map((power) => {
    const left = `${Number(((power / decades) * 100).toFixed(2))}%`;
    return html`<span class="tick x${power === decades ? ' end' : ''}" style="left:${left}">${bytes(10 ** power).replace(/\.0+ /, ' ')}</span>`;
  });
  return html`<div class="scroll"><table class="bytes">
<thead><tr><th scope="col"></th><th scope="col" class="wide">on a logarithmic scale</th><th scope="col">a round</th><th scope="col">whole run</th><th scope="col">× payload</th></tr></thead>
<tbody>${rows.map(
    (
      row,
    ) => html`<tr class="${row.ours ? 'ours' : 'theirs'}"><th scope="row">${row.name}<small>${row.about}</small></th><td class="scale">${bar(row.total)}</td><td>${rounds > 0 ? bytes(row.total / rounds) : '–'}</td><td>${bytes(row.total)}</td><td>${times(row.total, result.payloadBytes)}</td></tr>
`,
  )}<tr class="decades"><th></th><td class="scale"><div>${ticks}</div></td><td colspan="3"></td></tr></tbody></table></div>
<p class="note">Gradients: in every round all n workers together send 2 (n − 1) · 2 bytes · d, summed over the ${count(rounds)} rounds with the workers that took part in each. d is ${trainedText(input)} for the trained weights${Number.isFinite(input.weights) ? ` and ${count(input.weights)} for the whole model` : ''}. This compares the cost of a round, not of a result: a round with gradients moves the loss further than a round of probes.</p>
`;
}

function trainedText(input: ReportInput): string {
  const known = input.plan.stages.map((stage, i) => ({ stage, d: input.trained[i] ?? Number.NaN }));
  if (known.some(({ d }) => !Number.isFinite(d))) return 'not known';
  if (known.length === 1) return count(known[0]!.d);
  return known.map(({ d }, i) => `${count(d)} in stage ${i + 1}`).join(', ');
}
