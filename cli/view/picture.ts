/**
 * The live view of a run at one of its rounds as an SVG, redrawn from its journal:
 * `node cli/view/picture.ts JOURNAL ROUND > picture.svg`. What a reader of the README sees is what the run showed.
 */
import pc from 'picocolors';
import { readJournal } from '../../worker/journal/file.ts';
import type { Followed } from '../../worker/journal/index.ts';
import type { ModelObserved } from './events.ts';
import { initial, update } from './model.ts';
import { observeAll } from './observe.ts';
import { planOf } from './plan.ts';
import { render } from './render.ts';
import { linesToSvg } from './svg.ts';

export interface PictureSize {
  readonly width: number;
  readonly height: number;
}

/** The view's lines right after `round`, at the times that the records tell. Empty without a genesis. */
export function frameAt(
  entries: readonly Pick<Followed, 'ledger' | 'record' | 'body'>[],
  round: number,
  { width, height }: PictureSize,
  model?: ModelObserved,
): string[] {
  const job = entries[0]?.ledger.job;
  if (job === null || job === undefined) return [];
  let now = 0;
  let view = initial({ name: entries[0]!.ledger.name, model: job.model.uri }, planOf(job), now);
  if (model !== undefined) view = update(view, model, now);
  for (const seen of observeAll(entries)) {
    if (seen.type === 'round') {
      if (seen.round > round) break;
      now += seen.elapsed;
    }
    view = update(view, seen, now);
  }
  return render(view, width, height, now, pc.createColors(true));
}

if (import.meta.main) {
  const [journal, round] = process.argv.slice(2);
  if (journal === undefined || !/^\d+$/.test(round ?? '')) {
    process.stderr.write('usage: node cli/view/picture.ts JOURNAL ROUND > picture.svg\n');
    process.exit(2);
  }
  const lines = frameAt([...readJournal(journal)], Number(round), { width: 100, height: 33 });
  process.stdout.write(linesToSvg(lines, `The terminal view of a run after round ${round}`));
}
