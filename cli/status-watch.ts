import { emptyLedger, type Ledger } from '../worker/journal/index.ts';
import type { Log } from '../worker/log/log.ts';
import { observe } from '../worker/round/observer.ts';
import type { Observed } from './view/events.ts';
import { capabilities, createView, type View } from './view/live.ts';
import { observationsOf } from './view/observe.ts';
import { planOf } from './view/plan.ts';

/** Shows a run as it goes, from its log alone, until it ends or `signal` aborts. */
export async function watch(
  { log }: { readonly log: Log },
  stream: NodeJS.WriteStream,
  signal: AbortSignal,
): Promise<void> {
  const known = (await log.last())?.seq ?? 0;
  let past: { readonly seq: number; readonly seen: readonly Observed[] }[] = [];
  let view: View | null = null;
  let before: Ledger = emptyLedger();
  let caughtUp = false;
  const catchUp = () => {
    const observed = past.flatMap(({ seen }) => seen);
    if (!caughtUp && observed.length > 0) view?.observe({ type: 'resumed', observed });
    caughtUp = true;
  };
  try {
    for await (const { seq, record, body, ledger } of observe(log, signal)) {
      if (record === null || body === null) {
        // What the log still holds has been read, and what follows is new.
        past = past.filter((one) => one.seq <= seq);
        catchUp();
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
      if (!caughtUp && seq < known) {
        past.push({ seq, seen });
        continue;
      }
      catchUp();
      for (const one of seen) view?.observe(one);
    }
  } finally {
    view?.close();
  }
}
