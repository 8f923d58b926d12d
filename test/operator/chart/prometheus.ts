/** A real Prometheus that scrapes what a test tells it to, with the labels that the chart's monitors give. */
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { freePort } from '../../cluster/ports.ts';
import { Processes } from '../../cluster/processes.ts';
import { tool } from '../../tools/tool.ts';

export interface Target {
  /** HOST:PORT */
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  /** Seconds since 1970, and value. */
  readonly values: readonly (readonly [number, number])[];
}

export class Prometheus {
  readonly #processes: Processes;
  readonly #url: string;

  private constructor(processes: Processes, url: string) {
    this.#processes = processes;
    this.#url = url;
  }

  /**
   * @param rules path of a file with alerts
   * @param scrapes more that it scrapes, as its configuration has it
   */
  static async start(
    targets: readonly Target[],
    rules: string,
    scrapes: readonly object[] = [],
  ): Promise<Prometheus> {
    const [program, folder] = await Promise.all([
      tool('prometheus'),
      mkdtemp(join(tmpdir(), 'onebyte-prometheus-')),
    ]);
    const port = await freePort();
    const config = {
      global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
      rule_files: [rules],
      scrape_configs: [
        {
          job_name: 'onebyte',
          honor_labels: true,
          static_configs: targets.map(({ address, labels }) => ({ targets: [address], labels })),
        },
        ...scrapes,
      ],
    };
    await writeFile(join(folder, 'prometheus.yaml'), stringify(config));
    const processes = new Processes(folder, true);
    processes.start('prometheus', program, [
      `--config.file=${folder}/prometheus.yaml`,
      `--storage.tsdb.path=${folder}/data`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--log.level=warn',
    ]);
    const prometheus = new Prometheus(processes, `http://127.0.0.1:${port}`);
    while (!(await prometheus.#isReady())) {
      const end = processes.ended('prometheus');
      if (end !== undefined) throw new Error(`${end}: ${processes.lastWords('prometheus')}`);
      await sleep(50);
    }
    return prometheus;
  }

  end(): Promise<void> {
    return this.#processes.killAll();
  }

  /** What a query gives over the last seconds. */
  async range(query: string, seconds: number): Promise<Series[]> {
    const end = Date.now() / 1_000;
    const { result } = await this.#get<{
      result: { metric: Series['metric']; values: [number, string][] }[];
    }>('/api/v1/query_range', { query, start: `${end - seconds}`, end: `${end}`, step: '1' });
    return result.map(({ metric, values }) => ({
      metric,
      values: values.map(([at, value]) => [at, Number(value)] as const),
    }));
  }

  /** Alerts that fire. */
  async firing(): Promise<string[]> {
    type Alert = { labels: { alertname: string }; state: string };
    const { alerts } = await this.#get<{ alerts: Alert[] }>('/api/v1/alerts', {});
    return alerts.filter(({ state }) => state === 'firing').map(({ labels }) => labels.alertname);
  }

  /** Alerts that fire or are about to, and rules that cannot be worked out. */
  async alerts(): Promise<{ readonly names: string[]; readonly broken: string[] }> {
    type Rule = { name: string; health: string; state: string };
    const { groups } = await this.#get<{ groups: { rules: Rule[] }[] }>('/api/v1/rules', {});
    const rules = groups.flatMap((group) => group.rules);
    return {
      names: rules.filter(({ state }) => state === 'pending' || state === 'firing').map(({ name }) => name),
      broken: rules.filter(({ health }) => health === 'err').map(({ name }) => name),
    };
  }

  async #get<T>(path: string, query: Record<string, string>): Promise<T> {
    const answer = await fetch(`${this.#url}${path}?${new URLSearchParams(query)}`);
    const body = (await answer.json()) as { status: string; error?: string; data: T };
    if (body.status !== 'success') throw new Error(`${query.query}: ${body.error}`);
    return body.data;
  }

  #isReady(): Promise<boolean> {
    return fetch(`${this.#url}/-/ready`).then(
      (answer) => answer.ok,
      () => false,
    );
  }
}
