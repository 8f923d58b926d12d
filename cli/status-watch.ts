import { emptyLedger, type Ledger } from '../worker/journal/index.ts';
import { observe } from '../worker/round/observer.ts';
import type { Connected } from './status.ts';
import type { Observed } from './view/events.ts';
import { capabilities, createView, type View } from './view/live.ts';
import { observationsOf } from './view/observe.ts';
import { planOf } from './view/plan.ts';

/** Shows a run as it goes, from its log alone, until it ends or `signal` aborts. */
export async function watch(
  { log }: Pick<Connected, 'log'>,
  stream: NodeJS.WriteStream,
  signal: AbortSignal,
): Promise<void> {
  const known = (await log.last())?.seq ?? 0;
  const past: Observed[] = [];
  let view: View | null = null;
  let before: Ledger = emptyLedger();
  let caughtUp = false;
  try {
    for await (const { seq, record, body, ledger } of observe(log, signal)) {
      if (record === null || body === null) {
        view?.observe({
          type: 'notice',
          level: 'warning',
          text: 'the log lost its last records: going on from what is left',
        });
        before = ledger;
        continue;
      }
      const { job } = ledger;
      view ??=
        job === null
          ? null
          : createView({
              stream,
              ...capabilities(stream, process.env),
              job: { name: ledger.name, model: job.model.uri },
              plan: planOf(job),
            });
      const seen = observationsOf(before, ledger, record, body.length);
      before = ledger;
      if (seq < known) {
        for (const one of seen) past.push(one);
        continue;
      }
      if (!caughtUp && past.length > 0) view?.observe({ type: 'resumed', observed: past });
      caughtUp = true;
      for (const one of seen) view?.observe(one);
    }
  } finally {
    view?.close();
  }
}
