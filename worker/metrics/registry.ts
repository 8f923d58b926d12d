import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { DEFINITIONS, type Definition, type MetricName } from './definitions.ts';

/** Label values, by label. */
export type Labels = Readonly<Record<string, string>>;

/** The metrics of one worker, all of `DEFINITIONS` and nothing else. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #gauges = new Map<string, Gauge>();
  readonly #counters = new Map<string, Counter>();
  readonly #histograms = new Map<string, Histogram>();
  readonly #collectors: (() => void)[] = [];

  constructor() {
    for (const [name, definition] of Object.entries(DEFINITIONS) as [MetricName, Definition][])
      this.#make(name, definition);
  }

  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;

  /** Called before every scrape, to set what is only known by looking. */
  onScrape(collect: () => void): void {
    this.#collectors.push(collect);
  }

  set(name: MetricName, value: number, labels: Labels = {}): void {
    this.#gauges.get(name)!.set(labels, value);
  }

  add(name: MetricName, value = 1, labels: Labels = {}): void {
    this.#counters.get(name)!.inc(labels, value);
  }

  /** A counter that somebody else counts. */
  countedTo(name: MetricName, total: number, labels: Labels = {}): void {
    const counter = this.#counters.get(name)!;
    counter.remove(labels);
    counter.inc(labels, total);
  }

  observe(name: MetricName, value: number, labels: Labels = {}): void {
    this.#histograms.get(name)!.observe(labels, value);
  }

  /** In Prometheus' text format. */
  async text(): Promise<string> {
    for (const collect of this.#collectors) collect();
    return this.#registry.metrics();
  }

  #make(name: MetricName, { type, help, labels = {}, buckets }: Definition): void {
    const options = { name, help, labelNames: Object.keys(labels), registers: [this.#registry] };
    if (type === 'gauge') this.#gauges.set(name, new Gauge(options));
    else if (type === 'counter') {
      const counter = new Counter(options);
      this.#counters.set(name, counter);
      // So that a rate is right from the first event on.
      for (const known of combinations(labels)) counter.inc(known, 0);
    } else this.#histograms.set(name, new Histogram({ ...options, buckets: [...buckets!] }));
  }
}

/** All values of a single label that are known beforehand; one empty set of labels where there is no label. */
function combinations(labels: NonNullable<Definition['labels']>): Labels[] {
  const [first] = Object.entries(labels);
  return first === undefined ? [{}] : first[1].map((value) => ({ [first[0]]: value }));
}
