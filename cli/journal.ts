import type { JournalOutcome } from '../worker/journal/file.ts';
import { type JournalSummary, summarise } from '../worker/journal/index.ts';
import type { CombinedEvaluation } from '../worker/journal/ledger.ts';
import { entriesOf, journalAt } from './journal-file.ts';

function read(path: string): { summary: JournalSummary; outcome: JournalOutcome } {
  let outcome: JournalOutcome | undefined;
  function* entries() {
    outcome = yield* entriesOf(journalAt(path));
  }
  const summary = summarise(entries());
  return { summary, outcome: outcome! };
}

/** Everything in a journal, as one JSON object; numbers that nobody measured are null. */
export function journalJson(path: string): string {
  const { summary, outcome } = read(path);
  return JSON.stringify({ ...summary, bytes: outcome.bytes, truncated: outcome.truncated });
}

/** What a journal holds, for people. */
export function describeJournal(path: string): string[] {
  const { summary, outcome } = read(path);
  const { totals, end } = summary;
  const lines = [
    `job        ${summary.name || '(no genesis record)'}  ${summary.uid}`,
    `started    ${summary.at === 0 ? 'unknown' : new Date(summary.at).toISOString()}, ${(totals.elapsed / 1000).toFixed(1)} s by the proposers' clocks`,
    `records    ${summary.records} in ${outcome.bytes} bytes; ${totals.rounds} rounds, ${totals.probes} probes in ${totals.payloadBytes} bytes`,
    `forwards   ${totals.forwards} passes over a batch, ${totals.exampleForwards} examples`,
    `disputes   ${totals.disputes}`,
  ];
  for (const split of ['train', 'validation', 'test'] as const) {
    const history = summary.evaluations[split];
    if (history !== null)
      lines.push(`${split.padEnd(10)} ${point(history.first)}  ->  ${point(history.last)}`);
  }
  lines.push('members');
  for (const { name, group, slot, first, last, rounds, probes, examples } of summary.members) {
    const until = last === null ? 'the end' : `round ${last}`;
    lines.push(
      `  ${name.padEnd(16)} ${group.padEnd(12)} slot ${slot}, round ${first} to ${until}, ${probes} probes in ${rounds} rounds, holds ${examples} examples`,
    );
  }
  lines.push('digests of the state');
  for (const { round, source, digest } of summary.digests)
    lines.push(`  round ${String(round).padStart(6)}  ${digest}  ${source}`);
  lines.push(end === null ? 'not ended' : `ended      after ${end.round} rounds, by ${end.reason}`);
  if (outcome.truncated !== null)
    lines.push(`cut off    the last ${outcome.truncated.bytes} bytes are no whole record`);
  return lines;
}

function point({ round, loss, accuracy, count }: CombinedEvaluation): string {
  return `loss ${loss.toFixed(4)} accuracy ${accuracy.toFixed(4)} (round ${round}, ${count} examples)`;
}
