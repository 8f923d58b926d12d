import { monitorEventLoopDelay } from 'node:perf_hooks';
import { LAG_QUANTILES } from './definitions.ts';
import type { Metrics } from './registry.ts';

/** Milliseconds between two looks at the event loop. */
const RESOLUTION = 20;

/** What the process costs, looked at with every scrape. @returns ends it */
export function watchProcess(metrics: Metrics): () => void {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION });
  delay.enable();
  metrics.set('process_start_time_seconds', Date.now() / 1000 - process.uptime());
  metrics.onScrape(() => {
    const { user, system } = process.cpuUsage();
    metrics.set('process_resident_memory_bytes', process.memoryUsage.rss());
    metrics.countedTo('process_cpu_seconds_total', (user + system) / 1e6);
    for (const quantile of LAG_QUANTILES) {
      // The monitor counts its own interval in.
      const lag = delay.count === 0 ? 0 : delay.percentile(Number(quantile) * 100) / 1e9 - RESOLUTION / 1000;
      metrics.set('onebyte_event_loop_lag_seconds', Math.max(0, lag), { quantile });
    }
    delay.reset();
  });
  return () => delay.disable();
}
